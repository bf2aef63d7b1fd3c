"use strict";
// Reads /api/v1/state once a second and /api/v1/events as they come. Nodes are kept and changed in
// place, so that nothing flickers and a selection survives.

const $ = (id) => document.getElementById(id);

function make(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
}
function say(node, text) {
  text = String(text);
  if (node.textContent !== text) node.textContent = text;
  return node;
}
function paint(node, cls) {
  if (node.className !== cls) node.className = cls;
  return node;
}
const tag = (kind) => (kind ? "tag " + kind : "tag");

// One child of `parent` for each item, in order; the node of a key is kept for as long as it comes.
function sync(parent, items, keyOf, create, update) {
  const kept = parent.kept || new Map();
  const next = new Map();
  let place = null;
  for (const item of items) {
    const key = keyOf(item);
    if (next.has(key)) continue;
    const node = kept.get(key) || create(item);
    kept.delete(key);
    next.set(key, node);
    update(node, item);
    const at = place ? place.nextSibling : parent.firstChild;
    if (at !== node) parent.insertBefore(node, at);
    place = node;
  }
  const rest = place ? place.nextSibling : parent.firstChild;
  for (let node = rest; node;) { const after = node.nextSibling; node.remove(); node = after; }
  parent.kept = next;
}
const tags = (parent, list) =>
  sync(parent, list, (t) => t.key || t.text, () => make("span"), (node, t) => {
    say(paint(node, tag(t.kind)), t.text);
    node.title = t.title || "";
  });

const count = (x) => x.toLocaleString("en");
const ms = (x) => (x === null || x === undefined ? "–" : x >= 100 ? x.toFixed(0) : x.toFixed(1));
const secs = (x) => (x >= 100000 ? (x / 60000).toFixed(0) + " min" : (x / 1000).toFixed(1) + " s");
const words = (x) => x.replaceAll("_", " ");

const STATUS = { passing: "good", warming: "info", warning: "warn", unweighted: "", ejected: "bad", critical: "bad" };
const CIRCUIT = { closed: "good", half_open: "warn", open: "bad" };
const CHAPTER = { kept: "good", running: "info", broken: "bad" };

// --- what is counted since the look before ------------------------------------------------------

const before = new Map();
const history = new Map();

function ratesOf(name, endpoints, at) {
  let sum = 0;
  for (const e of endpoints) {
    const key = name + " " + e.id + " " + e.address;
    const last = before.get(key);
    if (e.rate === undefined) {
      const span = last ? (at - last.at) / 1000 : 0;
      // A set that was replaced begins to count anew.
      e.rate = span > 0 ? Math.max(0, e.requests - last.requests) / span : 0;
    }
    before.set(key, { at, requests: e.requests });
    sum += e.rate;
  }
  for (const e of endpoints) if (e.share === undefined) e.share = sum > 0 ? e.rate / sum : 0;
  const line = history.get(name) || [];
  line.push(sum);
  if (line.length > 60) line.shift();
  history.set(name, line);
  return { sum, line };
}

// --- services ------------------------------------------------------------------------------------

const COLUMNS = [
  ["endpoint"], ["state"], ["share", "share wide"], ["requests/s", "n"], ["in flight", "n wide"],
  ["failed", "n"], ["weight", "n wide"], ["p50 ms", "n wide"], ["p99 ms", "n"],
];

function newService() {
  const card = make("article", "service");
  const head = make("div");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 59 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  svg.append(line);
  card.title3 = make("h3");
  card.tags = make("span");
  card.tags.style.display = "contents";
  head.append(card.title3, card.tags, svg);
  card.svg = svg; card.line = line;
  card.trouble = make("p", "trouble");
  const scroll = make("div", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "group");
  const table = make("table");
  const thead = make("thead");
  card.heads = make("tr");
  for (const [text, cls] of COLUMNS) {
    const th = make("th", cls, text);
    th.scope = "col";
    card.heads.append(th);
  }
  thead.append(card.heads);
  card.body = make("tbody");
  table.append(thead, card.body);
  scroll.append(table);
  card.scroll = scroll;
  card.none = make("p", "empty", "No endpoint is known.");
  card.append(head, card.trouble, scroll, card.none);
  return card;
}

function newRow() {
  const row = make("tr");
  const name = make("th");
  name.scope = "row";
  row.id_ = make("span");
  row.more = make("small");
  name.append(row.id_, row.more);
  row.state = make("span");
  const state = make("td");
  state.append(row.state);
  row.bar = make("i");
  const share = make("td", "share wide");
  share.append(row.bar);
  row.figures = COLUMNS.slice(3).map(([, cls]) => make("td", cls));
  row.append(name, state, share, ...row.figures);
  return row;
}

function showRow(row, e, timed) {
  say(row.id_, e.id);
  const more = [e.address !== e.id.slice(-e.address.length) ? e.address : "", e.language, e.version, e.zone];
  say(row.more, more.filter(Boolean).join(" · "));
  const left = e.ejected && e.ejected_for_ms ? " " + secs(e.ejected_for_ms) : "";
  say(paint(row.state, tag(STATUS[e.status])), e.status + left);
  row.bar.style.width = Math.round(100 * e.share) + "%";
  row.bar.parentNode.title = Math.round(100 * e.share) + " % of the requests";
  const figures = [Math.round(e.rate), e.in_flight, count(e.failures), e.weight.toFixed(e.weight % 1 ? 2 : 0), ms(e.p50_ms), ms(e.p99_ms)];
  figures.forEach((text, i) => say(row.figures[i], text));
  for (const cell of row.figures.slice(4)) cell.hidden = !timed;
}

function policyTag(policy, whose) {
  const kept = policy.error ? "kept, since: " + policy.error : "";
  return {
    key: "policy", kind: policy.error ? "warn" : "",
    text: whose + "policy " + policy.version, title: "from " + words(policy.source) + (kept ? "; " + kept : ""),
  };
}

function showService(card, { caller, name, service, at }) {
  const key = caller + " → " + name;
  say(card.title3, key);
  const list = [policyTag(service.policy, "")];
  for (const circuit of service.circuits) {
    const wait = circuit.retry_at_ms ? ", tries again in " + secs(Math.max(0, circuit.retry_at_ms - at)) : "";
    const route = circuit.route === "default" ? "" : circuit.route + " ";
    const text = "circuit " + route + circuit.state.replace("_", "-") + wait;
    list.push({ key: "circuit " + circuit.route, kind: CIRCUIT[circuit.state], text });
  }
  for (const m of service.mirrors) {
    const differ = m.status + m.headers + m.body;
    const text = "mirror: " + count(m.same + differ) + " compared, " + count(differ) + " differ";
    list.push({ key: "mirror " + m.route, text, title: "route " + m.route });
  }
  if (service.panicking) list.push({ text: "all endpoints in use, for want of good ones", kind: "bad" });
  if (service.freshness !== "live" && service.freshness !== "static") {
    const text = service.freshness ? "set is " + service.freshness : "registry has not answered";
    list.push({ key: "set", text, kind: "warn" });
  }
  const { sum, line } = ratesOf(key, service.endpoints, at);
  list.push({ key: "rate", text: Math.round(sum) + " requests/s" });
  tags(card.tags, list);
  const most = Math.max(...line, 1);
  card.line.setAttribute("points", line.map((y, x) => x + 60 - line.length + "," + (19 - (18 * y) / most).toFixed(1)).join(" "));
  card.svg.setAttribute("aria-label", "requests per second over the last minute, at most " + Math.round(most));
  card.trouble.hidden = !service.policy.error;
  say(card.trouble, service.policy.error || "");
  const timed = service.endpoints.some((e) => e.p50_ms !== undefined);
  [...card.heads.children].slice(7).forEach((th) => (th.hidden = !timed));
  card.scroll.setAttribute("aria-label", "Endpoints of " + name + ", as " + caller + " sees them");
  card.scroll.hidden = !service.endpoints.length;
  card.none.hidden = !!service.endpoints.length;
  sync(card.body, service.endpoints, (e) => e.id + " " + e.address, newRow, (row, e) => showRow(row, e, timed));
}

function showServices(s) {
  const all = [];
  for (const member of s.members || [s]) {
    for (const [name, service] of Object.entries(member.services)) {
      all.push({ caller: member.service, name, service, at: s.at_ms });
    }
  }
  if (all.length) sync($("services"), all, (one) => one.caller + " → " + one.name, newService, showService);
  else sync($("services"), [0], () => "none", () => make("p", "empty", "No calls yet: a service stands here from its first call on."), () => {});
}

// --- the process ---------------------------------------------------------------------------------

function showHead(s, readiness) {
  const name = s.demo ? "Outrigger demo" : s.service;
  say($("name"), name);
  document.title = name + (s.demo ? "" : " · Outrigger");
  const about = s.demo
    ? secs(s.demo.elapsed_ms) + " of " + secs(s.demo.total_ms)
    : [s.version, s.zone, s.instance].filter(Boolean).join(" · ");
  say($("about"), about);
  const list = [];
  if (readiness) {
    const why = readiness.reasons.map((r) => r.text).join("; ");
    if (readiness.status === "ready") list.push({ key: "ready", text: "ready", kind: "good" });
    else list.push({ key: "ready", text: "not ready: " + why, kind: "warn" });
  }
  const registry = s.registry;
  if (registry.kind === "none") list.push({ key: "registry", text: "no registry" });
  else if (registry.connected) list.push({ key: "registry", text: "registry connected", kind: "good" });
  else list.push({ key: "registry", text: "registry lost: living on the last good set", kind: "warn" });
  tags($("health"), list);
}

function showFacts(s) {
  const registry = s.registry;
  const facts = [];
  const add = (name, text) => facts.push({ name, text });
  if (s.policy) add("own policy", s.policy.version + ", from " + words(s.policy.source) + (s.policy.error ? "; kept, since: " + s.policy.error : ""));
  for (const [name, address] of Object.entries(s.listeners)) add(name, address);
  if (registry.kind !== "none") {
    const open = registry.connections === 1 ? "1 connection" : registry.connections + " connections";
    add("registry", (registry.address || registry.kind) + ", " + open);
    if (registry.age_ms !== null) add("last answer", secs(registry.age_ms) + " ago");
    if (registry.holding_empty.length) add("held sets", registry.holding_empty.join(", "));
  }
  if (s.mesh.kind) add("mesh", s.mesh.kind);
  if (s.calls && s.calls.correlated + s.calls.uncorrelated > 0) {
    const { correlated, uncorrelated, forward } = s.calls;
    const advice = uncorrelated ? ", " + count(uncorrelated) + " not: the application should forward " + forward : "";
    add("calls out", count(correlated) + " belong to a request that came in" + advice);
  }
  for (const member of s.members || []) {
    const at = member.listeners.inbound;
    if (at) add(member.service, at + (member.policy ? ", policy " + member.policy.version : ""));
  }
  // Several members may have one name: what tells them apart is their place.
  facts.forEach((fact, i) => (fact.key = i + " " + fact.name));
  const rows = facts.flatMap((fact) => [{ key: fact.key + " t", tag: "dt", text: fact.name }, { key: fact.key + " d", tag: "dd", text: fact.text }]);
  sync($("about-process"), rows, (row) => row.key, (row) => make(row.tag), (node, row) => say(node, row.text));
  $("facts").hidden = !facts.length;
}

// --- the demo ------------------------------------------------------------------------------------

function showDemo(d) {
  $("figures").hidden = $("play").hidden = !d;
  if (!d) return;
  const rows = [
    [count(d.requests), "requests"], [count(d.failed), "failed for the user"], [Math.round(d.rate), "requests/s"],
    [ms(d.p50_ms) + " ms", "p50"], [ms(d.p99_ms) + " ms", "p99"],
    [count(d.retries), "retries"], [count(d.ejections), "ejections"], [count(d.transitions.length), "circuit changes"],
  ];
  sync($("figures"), rows, ([, what]) => what, ([, what]) => {
    const figure = make("div");
    figure.append(make("b"), make("span", "", what));
    return figure;
  }, (node, [value]) => say(node.firstChild, value));
  sync($("chapters"), d.chapters, (c) => c.name, (c) => {
    const li = make("li");
    const state = make("span");
    li.state = make("span");
    state.append(li.state);
    const what = make("div", "", c.title);
    li.why = make("small");
    what.append(make("small", "", c.promise), li.why);
    li.tally = make("span", "dim");
    li.append(state, what, li.tally);
    return li;
  }, (li, c) => {
    say(paint(li.state, tag(CHAPTER[c.state])), c.state);
    say(li.why, c.broken_because || "");
    say(li.tally, c.requests ? c.failed + " of " + count(c.requests) + " failed" : "");
  });
}

const hues = new Map();
function hue(service) {
  if (!hues.has(service)) hues.set(service, (hues.size * 67 + 210) % 360);
  return hues.get(service);
}
let traced = "";
function showTrace(t) {
  $("waterfall").hidden = !t;
  if (!t || t.id === traced) return;
  traced = t.id;
  const start = Math.min(...t.spans.map((s) => s.start_us));
  const end = Math.max(...t.spans.map((s) => s.start_us + s.duration_us));
  const width = Math.max(end - start, 1);
  const ids = new Set(t.spans.map((s) => s.id));
  const below = new Map();
  for (const s of t.spans) {
    const parent = ids.has(s.parent) ? s.parent : "";
    below.set(parent, [...(below.get(parent) || []), s]);
  }
  const rows = [];
  const walk = (parent, depth) => {
    for (const s of (below.get(parent) || []).sort((a, b) => a.start_us - b.start_us)) {
      const row = make("div", "span");
      const who = make("div", "who");
      who.style.paddingLeft = depth * 0.8 + "rem";
      who.append(make("span", "", s.service + " "), make("em", "", s.name + " · " + s.kind));
      const lane = make("div", "lane");
      const bar = make("i");
      bar.style.left = (100 * (s.start_us - start)) / width + "%";
      bar.style.width = Math.max((100 * s.duration_us) / width, 0.3) + "%";
      bar.style.background = s.error ? "var(--bad)" : "hsl(" + hue(s.service) + " 60% 50%)";
      lane.append(bar);
      row.title = Object.entries(s.attributes).map(([k, v]) => k + " = " + v).join("\n");
      row.append(who, lane, make("div", "took", ms(s.duration_us / 1000) + " ms"));
      rows.push(row);
      walk(s.id, depth + 1);
    }
  };
  walk("", 0);
  say($("trace"), "Trace " + t.id + ", " + t.spans.length + " spans, " + ms(width / 1000) + " ms; point at a span for its decisions.");
  $("spans").replaceChildren(...rows);
}

// --- events --------------------------------------------------------------------------------------

const KEPT = 500;
const fits = (text) => text.toLowerCase().includes($("filter").value.trim().toLowerCase());

function addEvent(at, text, kind) {
  const list = $("events");
  const li = make("li");
  const time = make("time", "", at ? new Date(at).toLocaleTimeString("en-GB") : "");
  if (at) time.dateTime = new Date(at).toISOString();
  li.append(time, make("p", "", text));
  li.words = text + " " + (kind || "");
  li.hidden = !fits(li.words);
  list.prepend(li);
  while (list.childElementCount > KEPT) list.lastChild.remove();
  $("silence").hidden = true;
}
function listen() {
  const source = new EventSource("/api/v1/events");
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    addEvent(event.at_ms, event.text, event.kind);
  };
  source.addEventListener("gap", (message) => addEvent(0, JSON.parse(message.data).lost + " events were not seen here", ""));
  source.onerror = () => {
    // The browser tries again by itself, unless the answer was a refusal.
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(() => { $("events").replaceChildren(); listen(); }, 5000);
  };
}
$("filter").addEventListener("input", () => {
  for (const li of $("events").children) li.hidden = !fits(li.words);
});

// --- the beat ------------------------------------------------------------------------------------

async function look() {
  const [state, ready] = await Promise.all([fetch("/api/v1/state"), fetch("/readyz")]);
  if (!state.ok) throw new Error("state: " + state.status);
  const s = await state.json();
  showHead(s, s.demo ? null : await ready.json());
  showDemo(s.demo);
  showServices(s);
  showTrace(s.trace);
  showFacts(s);
}
async function beat() {
  try {
    // A page that nobody sees asks nothing.
    if (!document.hidden) await look();
    $("lost").hidden = true;
  } catch (error) {
    // What fails on the way is a TypeError of fetch; anything else is a fault of this page.
    console.error(error);
    $("lost").hidden = false;
  }
  setTimeout(beat, 1000);
}
beat();
listen();
