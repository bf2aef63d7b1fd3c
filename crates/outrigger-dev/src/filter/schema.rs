//! Which fields each kind of answer offers to filters.

/// What a field holds, and so which tests it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Flag,
    List,
    Map,
    /// The value of a map under a key of the asker's choice; it can be absent.
    MapValue,
}

/// A path with `<any>` for a key of the asker's choice.
pub(crate) type Field = (&'static str, Kind);

pub(crate) const NODE: &[Field] = &[
    ("ID", Kind::Text),
    ("Node", Kind::Text),
    ("Address", Kind::Text),
    ("Datacenter", Kind::Text),
    ("TaggedAddresses", Kind::Map),
    ("TaggedAddresses.<any>", Kind::MapValue),
    ("Meta", Kind::Map),
    ("Meta.<any>", Kind::MapValue),
];

pub(crate) const CHECK: &[Field] = &[
    ("Node", Kind::Text),
    ("CheckID", Kind::Text),
    ("Name", Kind::Text),
    ("Status", Kind::Text),
    ("Notes", Kind::Text),
    ("Output", Kind::Text),
    ("ServiceID", Kind::Text),
    ("ServiceName", Kind::Text),
    ("ServiceTags", Kind::List),
    ("Type", Kind::Text),
];

pub(crate) const AGENT_SERVICE: &[Field] = &[
    ("Kind", Kind::Text),
    ("ID", Kind::Text),
    ("Service", Kind::Text),
    ("Tags", Kind::List),
    ("Meta", Kind::Map),
    ("Meta.<any>", Kind::MapValue),
    ("Port", Kind::Number),
    ("Address", Kind::Text),
    ("TaggedAddresses", Kind::Map),
    ("TaggedAddresses.<any>.Address", Kind::MapValue),
    ("TaggedAddresses.<any>.Port", Kind::Number),
    ("Weights.Passing", Kind::Number),
    ("Weights.Warning", Kind::Number),
    ("EnableTagOverride", Kind::Flag),
    ("Connect.Native", Kind::Flag),
    ("Datacenter", Kind::Text),
];

pub(crate) const CATALOG_SERVICE: &[Field] = &[
    ("ID", Kind::Text),
    ("Node", Kind::Text),
    ("Address", Kind::Text),
    ("Datacenter", Kind::Text),
    ("TaggedAddresses", Kind::Map),
    ("TaggedAddresses.<any>", Kind::MapValue),
    ("NodeMeta", Kind::Map),
    ("NodeMeta.<any>", Kind::MapValue),
    ("ServiceKind", Kind::Text),
    ("ServiceID", Kind::Text),
    ("ServiceName", Kind::Text),
    ("ServiceTags", Kind::List),
    ("ServiceAddress", Kind::Text),
    ("ServiceTaggedAddresses", Kind::Map),
    ("ServiceTaggedAddresses.<any>.Address", Kind::MapValue),
    ("ServiceTaggedAddresses.<any>.Port", Kind::Number),
    ("ServiceWeights.Passing", Kind::Number),
    ("ServiceWeights.Warning", Kind::Number),
    ("ServiceMeta", Kind::Map),
    ("ServiceMeta.<any>", Kind::MapValue),
    ("ServicePort", Kind::Number),
    ("ServiceEnableTagOverride", Kind::Flag),
    ("ServiceConnect.Native", Kind::Flag),
];

pub(crate) const HEALTH: &[Field] = &[
    ("Node.ID", Kind::Text),
    ("Node.Node", Kind::Text),
    ("Node.Address", Kind::Text),
    ("Node.Datacenter", Kind::Text),
    ("Node.TaggedAddresses", Kind::Map),
    ("Node.TaggedAddresses.<any>", Kind::MapValue),
    ("Node.Meta", Kind::Map),
    ("Node.Meta.<any>", Kind::MapValue),
    ("Service.Kind", Kind::Text),
    ("Service.ID", Kind::Text),
    ("Service.Service", Kind::Text),
    ("Service.Tags", Kind::List),
    ("Service.Address", Kind::Text),
    ("Service.TaggedAddresses", Kind::Map),
    ("Service.TaggedAddresses.<any>.Address", Kind::MapValue),
    ("Service.TaggedAddresses.<any>.Port", Kind::Number),
    ("Service.Meta", Kind::Map),
    ("Service.Meta.<any>", Kind::MapValue),
    ("Service.Port", Kind::Number),
    ("Service.Weights.Passing", Kind::Number),
    ("Service.Weights.Warning", Kind::Number),
    ("Service.EnableTagOverride", Kind::Flag),
    ("Service.Connect.Native", Kind::Flag),
    ("Checks", Kind::List),
];

/// The kind of the field that a selector names.
pub(super) fn kind(fields: &[Field], path: &[String]) -> Option<Kind> {
    fields.iter().find(|(pattern, _)| is_match(pattern, path)).map(|(_, kind)| *kind)
}

fn is_match(pattern: &str, path: &[String]) -> bool {
    let mut parts = path.iter();
    pattern.split('.').all(|want| parts.next().is_some_and(|part| want == "<any>" || want == part))
        && parts.next().is_none()
}
