// Shows one pair after the other. What models wrote is put into the page as text only.

const at = (id) => document.getElementById(id);
const TITLES = { a: "A", same: "Same", neither: "Neither", b: "B", both: "Both" };
const NO_LINK = "Open the link that you were given for this review.";
const NO_ANSWER = "The server does not answer. Ask whoever runs the review to start it again.";

let criteria = [];
let judged = [];
let number = -1;
let since = 0;

class Failed extends Error {}

async function ask(path, said) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem("token")}` };
  const options = said ? { method: "PUT", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(said) } : { headers };
  const answer = await fetch(`/api/${path}`, options).catch(() => {
    throw new Failed(NO_ANSWER);
  });
  if (answer.status === 401) throw new Failed(`This link is not valid. ${NO_LINK}`);
  if (!answer.ok) throw new Failed(`The server found a mistake (${answer.status}).`);
  return answer.json();
}

// Does what needs the server, and tells why where it fails.
async function attempt(work, failed = "") {
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  try {
    tell("");
    await work();
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    tell(failed + error.message);
  } finally {
    for (const button of document.querySelectorAll("button")) button.disabled = false;
    at("back").disabled = number <= 0;
  }
}

function tell(text) {
  at("message").textContent = text;
  at("message").hidden = !text;
}

function start() {
  const token = location.hash.slice(1);
  if (token) {
    sessionStorage.setItem("token", token);
    // Not in the address bar, the history and bookmarks.
    history.replaceState(null, "", "/");
  }
  if (!sessionStorage.getItem("token")) {
    tell(NO_LINK);
    return;
  }
  attempt(async () => {
    const review = await ask("review");
    ({ criteria, judged } = review);
    at("title").textContent = `Review by ${review.reviewer}`;
    at("criteria").replaceChildren(...criteria.map(question));
    await next();
  });
}

function question(criterion) {
  const set = document.createElement("fieldset");
  const legend = document.createElement("legend");
  const guide = document.createElement("p");
  const choices = document.createElement("div");
  set.id = criterion.name;
  legend.textContent = criterion.question;
  guide.textContent = criterion.guide;
  guide.className = "guide";
  guide.id = `${criterion.name}-guide`;
  set.setAttribute("aria-describedby", guide.id);
  choices.className = "choices";
  for (const side of criterion.sides) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: criterion.name, value: side });
    label.append(input, TITLES[side]);
    choices.append(label);
  }
  choices.addEventListener("change", () => set.classList.remove("missing"));
  set.append(legend, guide, choices);
  return set;
}

const chosen = (name) => at("form").elements[name].value;
const missing = () => criteria.map((each) => each.name).filter((name) => !chosen(name));

// The next pair without a judgement, or the end.
async function next() {
  const places = judged.map((_, place) => (number + 1 + place) % judged.length);
  const open = places.find((place) => !judged[place]);
  if (open !== undefined) {
    await show(open);
    return;
  }
  at("pair").hidden = true;
  at("done").hidden = false;
  count();
  at("done-title").focus();
}

async function show(wanted) {
  const pair = await ask(`pairs/${wanted}`);
  number = wanted;
  for (const name of ["prompt", "a", "b"]) at(name).textContent = pair[name];
  at("prompt").hidden = !pair.prompt;
  at("image").hidden = !pair.image;
  if (pair.image) at("image").src = pair.image;
  else at("image").removeAttribute("src");
  for (const { name } of criteria) {
    for (const input of at("form").elements[name]) input.checked = input.value === pair.choices[name];
    at(name).classList.remove("missing");
  }
  at("note").value = pair.note;
  at("done").hidden = true;
  at("pair").hidden = false;
  count();
  scrollTo(0, 0);
  at("title").focus({ preventScroll: true });
  since = performance.now();
}

function count() {
  const done = judged.filter(Boolean).length;
  const where = at("done").hidden ? `Pair ${number + 1} of ${judged.length}, ` : "";
  at("count").textContent = `${where}${done} judged`;
  Object.assign(at("progress"), { value: done, max: judged.length });
  at("status").textContent = at("count").textContent;
}

function save() {
  const open = missing();
  for (const { name } of criteria) at(name).classList.toggle("missing", open.includes(name));
  if (open.length) {
    tell(`Answer ${open.length === 1 ? "the question that is" : "the questions that are"} marked.`);
    at(open[0]).querySelector("input").focus();
    return;
  }
  const choices = Object.fromEntries(criteria.map(({ name }) => [name, chosen(name)]));
  const seconds = Math.min((performance.now() - since) / 1000, 86400);
  attempt(async () => {
    ({ judged } = await ask(`pairs/${number}`, { choices, note: at("note").value, seconds }));
    await next();
  }, "Not saved. ");
}

const back = () => number > 0 && attempt(() => show(number - 1));

// A choice of the question that has the focus, or else of the first open one. place: from the left, from 0.
function choose(place) {
  const name = document.activeElement.closest("fieldset")?.id ?? missing()[0];
  const side = criteria.find((each) => each.name === name)?.sides[place];
  if (!side) return;
  at("form").elements[name].value = side;
  at(name).classList.remove("missing");
  const open = missing()[0];
  (open ? at(open).querySelector("input") : at("save")).focus();
}

function pressed(event) {
  if (!at("keys").checked || at("pair").hidden || event.ctrlKey || event.metaKey || event.altKey || at("save").disabled) return;
  if (event.target.matches("textarea") || (event.key === "Enter" && event.target.matches("button"))) return;
  const act = /^[1-4]$/.test(event.key) ? () => choose(event.key - 1) : { Enter: save, p: back, P: back }[event.key];
  if (!act || event.repeat) return;
  event.preventDefault();
  act();
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
at("back").addEventListener("click", back);
// The pixels of a small image stay sharp.
at("image").addEventListener("load", () => at("image").classList.toggle("small", at("image").naturalWidth <= 128));
at("again").addEventListener("click", () => attempt(() => show(judged.length - 1)));
at("keys").checked = localStorage.getItem("keys") !== "off";
at("keys").addEventListener("change", () => localStorage.setItem("keys", at("keys").checked ? "on" : "off"));
addEventListener("keydown", pressed);
addEventListener("hashchange", start);
start();
