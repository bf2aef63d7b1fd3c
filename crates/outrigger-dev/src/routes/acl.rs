//! The part of access control that tests and demos need: policies and tokens.

use serde_json::{Value, json};

use super::{Call, Outcome, array};
use crate::acl::{Access, Acl, Policy, Resource, Rules, Token};
use crate::decode::Fields;
use crate::model::uuid;
use crate::reply::{Refusal, Reply};

impl Call {
    pub(super) fn acl_policies(&self) -> Outcome {
        self.may_acl(Access::Read)?;
        Ok(array(self.state().acl.policies.values().map(policy_view).collect()))
    }

    pub(super) fn acl_policy_create(&self) -> Outcome {
        self.may_acl(Access::Write)?;
        let body = self.request.json()?;
        let fields = Fields::of(&body)?;
        let name = fields.string("name")?;
        if name.is_empty() {
            return Err(Refusal::server("Invalid Policy: no Name is set"));
        }
        let text = fields.string("rules")?;
        let rules = Rules::parse(&text)
            .map_err(|e| Refusal::server(format!("Failed to parse ACL rules: {e}")))?;
        let description = fields.string("description")?;
        let view = self.change(|state, _| {
            if state.acl.policies.values().any(|policy| policy.name == name) {
                let why = format!("Invalid Policy: A Policy with Name {name:?} already exists");
                return Err(Refusal::Server(why));
            }
            let index = state.step();
            let id = uuid(&mut state.rng);
            let policy = Policy { id: id.clone(), name, description, text, rules, index };
            let view = policy_view(&policy);
            state.acl.policies.insert(id, policy);
            Ok(view)
        })?;
        Ok(Reply::json(&view))
    }

    pub(super) fn acl_policy(&self) -> Outcome {
        let id = self.request.named("Missing policy ID")?;
        if self.request.method == "DELETE" {
            self.may_acl(Access::Write)?;
            self.change(|state, _| {
                state.step();
                state.acl.policies.remove(id);
            });
            return Ok(Reply::json(&true));
        }
        self.may_acl(Access::Read)?;
        let state = self.state();
        let policy = state.acl.policies.get(id).ok_or_else(|| {
            Refusal::NotFound("Requested policy does not exist: ACL not found".to_owned())
        })?;
        Ok(Reply::json(&policy_view(policy)))
    }

    pub(super) fn acl_tokens(&self) -> Outcome {
        self.may_acl(Access::Read)?;
        let state = self.state();
        Ok(array(state.acl.tokens.values().map(|t| token_view(&state.acl, t)).collect()))
    }

    pub(super) fn acl_token_create(&self) -> Outcome {
        self.may_acl(Access::Write)?;
        let body = self.request.json()?;
        let fields = Fields::of(&body)?;
        let description = fields.string("description")?;
        let accessor = fields.string("accessorid")?;
        let secret = fields.string("secretid")?;
        let mut wanted = Vec::new();
        for link in fields.list("policies")? {
            let link = Fields::of(link)?;
            wanted.push((link.string("id")?, link.string("name")?));
        }
        let view = self.change(|state, _| {
            let mut policies = Vec::new();
            for (id, name) in wanted {
                let found = state
                    .acl
                    .policies
                    .values()
                    .find(|policy| policy.id == id || (id.is_empty() && policy.name == name));
                match found {
                    Some(policy) => policies.push(policy.id.clone()),
                    None => {
                        let why = format!("No such ACL policy with name {name:?}");
                        return Err(Refusal::Server(why));
                    }
                }
            }
            let index = state.step();
            let mut given = |text: String| {
                if text.is_empty() { uuid(&mut state.rng) } else { text }
            };
            let token = Token {
                accessor: given(accessor),
                secret: given(secret),
                description,
                policies,
                management: false,
                index,
            };
            let view = token_view(&state.acl, &token);
            state.acl.tokens.insert(token.secret.clone(), token);
            Ok(view)
        })?;
        Ok(Reply::json(&view))
    }

    pub(super) fn acl_token(&self) -> Outcome {
        let accessor = self.request.named("Missing token accessor ID")?;
        if self.request.method == "DELETE" {
            self.may_acl(Access::Write)?;
            self.change(|state, _| {
                state.step();
                state.acl.tokens.retain(|_, token| token.accessor != accessor);
            });
            return Ok(Reply::json(&true));
        }
        self.may_acl(Access::Read)?;
        let state = self.state();
        let token = state.acl.tokens.values().find(|token| token.accessor == accessor).ok_or_else(
            || Refusal::NotFound("Requested token does not exist: ACL not found".to_owned()),
        )?;
        Ok(Reply::json(&token_view(&state.acl, token)))
    }

    pub(super) fn acl_token_self(&self) -> Outcome {
        let state = self.state();
        if !state.acl.enabled {
            return Err(disabled());
        }
        let token = state.acl.tokens.get(self.request.token());
        let token = token.ok_or(Refusal::Denied(crate::acl::Denied::UnknownToken))?;
        Ok(Reply::json(&token_view(&state.acl, token)))
    }

    fn may_acl(&self, access: Access) -> Result<(), Refusal> {
        if !self.state().acl.enabled {
            return Err(disabled());
        }
        Ok(self.authority()?.check(Resource::Acl, access, "")?)
    }
}

fn disabled() -> Refusal {
    Refusal::Unauthorized("ACL support disabled".to_owned())
}

fn policy_view(policy: &Policy) -> Value {
    json!({
        "ID": policy.id, "Name": policy.name, "Description": policy.description,
        "Rules": policy.text, "CreateIndex": policy.index, "ModifyIndex": policy.index,
    })
}

fn token_view(acl: &Acl, token: &Token) -> Value {
    let policies: Vec<_> = token
        .policies
        .iter()
        .filter_map(|id| acl.policies.get(id))
        .map(|policy| json!({ "ID": policy.id, "Name": policy.name }))
        .collect();
    json!({
        "AccessorID": token.accessor, "SecretID": token.secret, "Description": token.description,
        "Policies": policies, "Local": false,
        "CreateIndex": token.index, "ModifyIndex": token.index,
    })
}
