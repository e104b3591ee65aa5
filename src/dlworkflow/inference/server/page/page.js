// The page of `dlw serve`: sends images or a row of values to /predict and shows the answers.
// Names of classes and files become text nodes only, never markup. Nothing is stored in the browser.
import { takePhotos } from "./camera.js";
import { megabytes, number, percent, readable } from "./words.js";

const SHOWN_FIRST = 5; // classes before "Show all"
const AT_ONCE = 4; // requests; the server gathers them into batches
const TRIALS = 5; // of a request to a busy server
const PREVIEW_SIDE = 640; // pixels
const SMALL_SIDE = 128; // pixels; a smaller image is shown enlarged, its pixels as squares

const element = (id) => document.getElementById(id);
const entries = []; // of this visit, newest first; each is {name, file?, rows?, state, ...answer}
const waiting = []; // entries not sent yet
let info = null;
let shown = null;
let sending = 0;
let all = false; // all classes, not only the first
let previews = Promise.resolve(); // one by one: a photo takes 50 MB until it is small

/** Return what is predicted, in a few words. */
function answerOf(entry) {
  if (entry.state === "waiting") return "Waiting for the answer …";
  if (entry.error) return entry.error;
  if (entry.value !== undefined) return [info.target && readable(info.target), number(entry.value)].filter(Boolean).join(": ");
  if (entry.labels) return entry.labels.map((found) => readable(found.label)).join(", ") || "None of the labels";
  if (entry.unsure) return `Unsure; likeliest ${readable(entry.top[0].label)}, ${percent(entry.probability)}`;
  return `${readable(entry.label)}, ${percent(entry.probability)}`;
}

/** Announce to screen readers, and to all eyes unless `isShown` elsewhere. */
function say(words, { isProblem = false, isShown = false } = {}) {
  const status = element("status");
  status.textContent = words;
  status.classList.toggle("problem", isProblem);
  status.classList.toggle("unseen", isShown);
}

/** Return an element with a text, isolated from the direction of the text around it. */
function textNode(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  made.dir = "auto";
  return made;
}

// --- what the server predicts ---

/** Return the JSON of an answer. Throws an Error with one line for a person, and `again` where a second try may help. */
async function ask(address, request) {
  let answer, body;
  try {
    for (let trial = 1; ; trial += 1) {
      answer = await fetch(address, request);
      if (answer.status !== 429 || trial === TRIALS) break;
      await new Promise((done) => setTimeout(done, 1000 * trial * Number(answer.headers.get("Retry-After") ?? 1)));
    }
    body = await answer.json();
  } catch {
    const gone = answer ? `The server answered ${answer.status} without a reason.` : "The server does not answer. Is it still running?";
    throw Object.assign(new Error(gone), { again: true });
  }
  if (answer.ok) return body;
  const reason = (body.error ?? `The server answered ${answer.status}.`).replace(/^(["']).*?\1: /s, ""); // the name is shown
  throw Object.assign(new Error(readable(reason)), { again: [429, 503, 504].includes(answer.status) });
}

/** Return the request for an entry. Throws an Error for a file that is gone by now, and for a folder. */
async function request(entry) {
  if (entry.rows) {
    return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ rows: entry.rows }) };
  }
  const content = await entry.file.arrayBuffer().catch(() => {
    throw new Error("The file cannot be read.");
  });
  const body = new FormData();
  body.append("file", new Blob([content]), entry.name);
  return { method: "POST", body };
}

async function predict(entry) {
  try {
    const limit = info.limits?.bytes;
    if (entry.file && limit && entry.file.size > limit) {
      throw new Error(`The file has ${megabytes(entry.file.size)}; the server takes at most ${megabytes(limit)}.`);
    }
    const { predictions } = await ask("predict?top_k=all", await request(entry));
    Object.assign(entry, predictions[0]);
    entry.error = predictions[0].error && readable(predictions[0].error);
    entry.again = false;
  } catch (problem) {
    Object.assign(entry, { error: problem.message, again: problem.again });
  }
  entry.state = "done";
  if (!entry.again) delete entry.file; // its preview is all that is shown
}

/** Send what waits, a few at once. */
function send() {
  while (sending < AT_ONCE && waiting.length) {
    const entry = waiting.shift();
    sending += 1;
    predict(entry).then(() => {
      sending -= 1;
      if (entries.includes(entry)) {
        draw(entry);
        report(entry);
      }
      send();
    });
  }
}

/** Announce an answer, or how many are still to come. */
function report(entry) {
  const left = waiting.length + sending;
  const failed = entry.group.filter((each) => each.error).length;
  if (left) say(`Predicting, ${left} to go …`);
  else if (entry.group.length === 1) say(`${readable(entry.name)}: ${answerOf(entry)}`, { isShown: true });
  else say(`${entry.group.length - failed} predicted${failed ? `, ${failed} with an error` : ""}.`, { isProblem: failed > 0 });
}

function add(group) {
  for (const entry of group) {
    Object.assign(entry, { state: "waiting", group });
    entry.item = document.createElement("li");
    entry.button = document.createElement("button");
    entry.button.type = "button";
    entry.button.addEventListener("click", () => show(entry));
    entry.item.append(entry.button);
    const { file } = entry;
    if (file) previews = previews.then(() => preview(entry, file));
    waiting.push(entry);
  }
  entries.unshift(...group);
  element("history").prepend(...group.map((entry) => entry.item));
  element("visit").hidden = false;
  group.forEach(draw);
  show(group[0]);
  send();
  say(`Predicting, ${waiting.length + sending} to go …`, { isShown: group.length === 1 });
}

function addFiles(files) {
  if (info?.kind !== "image") return;
  const group = [...files].map((file) => ({ name: file.name || "pasted image", file }));
  if (group.length) add(group);
  else say("That is no file: drop or paste images.", { isProblem: true });
}

// --- what is shown ---

/** Make a small copy of an image, upright and without its metadata; a format that the browser cannot read has none. */
async function preview(entry, file) {
  if (!entries.includes(entry)) return;
  try {
    const image = await createImageBitmap(file);
    const scale = Math.min(1, PREVIEW_SIDE / Math.max(image.width, image.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(image.width * scale));
    canvas.height = Math.max(1, Math.round(image.height * scale));
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    entry.isSmall = Math.max(image.width, image.height) < SMALL_SIDE;
    image.close();
    const small = await new Promise((done) => canvas.toBlob(done));
    if (!entries.includes(entry)) return;
    entry.preview = URL.createObjectURL(small);
  } catch {
    entry.preview = null;
  }
  draw(entry);
}

function picture(entry, alt) {
  if (!entry.preview) return textNode("div", entry.preview === null ? "no preview" : "", "no-preview");
  const image = document.createElement("img");
  image.src = entry.preview;
  image.alt = alt;
  image.className = entry.isSmall ? "small" : "";
  return image;
}

/** Draw the entry in the list, and in full where it is the one that is shown. */
function draw(entry) {
  const words = document.createElement("span");
  words.className = "words";
  words.append(textNode("bdi", answerOf(entry), entry.error ? "problem" : ""), textNode("bdi", readable(entry.name), "note"));
  entry.button.replaceChildren(words);
  if (!entry.rows) {
    const thumb = picture(entry, "");
    thumb.classList.add("thumb");
    entry.button.prepend(thumb);
  }
  if (entry === shown) show(entry, all);
}

function show(entry, withAll = false) {
  shown = entry;
  all = withAll;
  for (const each of entries) each.button.setAttribute("aria-current", String(each === entry));
  element("result").hidden = false;
  element("result").classList.toggle("plain", Boolean(entry.rows));
  element("preview").replaceChildren(...(entry.rows ? [] : [picture(entry, readable(entry.name))]));
  element("answer").replaceChildren(textNode("bdi", answerOf(entry), entry.error ? "problem" : ""));
  element("source").replaceChildren(textNode("bdi", readable(entry.name)));
  element("again").hidden = !entry.again;
  const top = (!entry.error && entry.top) || [];
  element("bars").replaceChildren(...(all ? top : top.slice(0, SHOWN_FIRST)).map((each) => bar(each, entry)));
  element("more").hidden = top.length <= SHOWN_FIRST;
  element("more").setAttribute("aria-expanded", String(all));
  element("more").textContent = all ? `Show ${SHOWN_FIRST} classes` : `Show all ${top.length} classes`;
}

/** Return the line of one class: its name, a bar, its probability; of several labels, a check mark and the threshold. */
function bar({ label, probability }, entry) {
  const line = document.createElement("li");
  const isChosen = entry.labels ? entry.labels.some((each) => each.label === label) : label === entry.label;
  const frame = document.createElement("span");
  frame.className = "bar";
  frame.setAttribute("aria-hidden", "true"); // the number says it
  const part = document.createElement("span");
  part.style.width = `${100 * probability}%`;
  frame.append(part);
  line.append(textNode("bdi", (entry.labels && isChosen ? "✓ " : "") + readable(label)), frame, textNode("span", percent(probability), "share"));
  line.classList.toggle("chosen", isChosen);
  const threshold = info.thresholds?.[info.classes.indexOf(label)];
  if (threshold !== undefined) {
    const mark = document.createElement("span");
    mark.className = "threshold";
    mark.style.left = `${100 * threshold}%`;
    frame.append(mark);
  }
  return line;
}

/** Empty the list and the page. */
function forget() {
  for (const entry of entries) if (entry.preview) URL.revokeObjectURL(entry.preview);
  entries.length = waiting.length = 0;
  shown = null;
  element("history").replaceChildren();
  element("visit").hidden = element("result").hidden = true;
  say("The list is empty.");
  element(info.kind === "image" ? "files" : "field-0").focus();
}

// --- what is given ---

function takeImages() {
  const place = element("images");
  element("files").addEventListener("change", (event) => {
    addFiles(event.target.files);
    event.target.value = ""; // the same file may be chosen again
  });
  document.addEventListener("paste", (event) => addFiles(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || place.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    addFiles(event.dataTransfer.files);
  });
  if (info.limits?.bytes) element("limits").textContent = `Up to ${megabytes(info.limits.bytes)} an image.`;
  place.hidden = false;
}

function takeRows() {
  const columns = info.columns ?? Array.from({ length: info.in_shape[0] }, (_, place) => ({ name: `number ${place + 1}` }));
  const fields = columns.map(field);
  element("row").addEventListener("submit", (event) => {
    event.preventDefault();
    const values = fields.map(({ value, type }) => (value === "" ? null : type === "number" ? Number(value) : value));
    const row = info.columns ? Object.fromEntries(columns.map(({ name }, place) => [name, values[place]])) : values;
    const name = columns.map((column, place) => `${column.name} ${values[place] ?? "?"}`).join(", ");
    add([{ name, rows: [row] }]);
  });
  element("row").hidden = false;
}

function field({ name, categories }, place) {
  const label = document.createElement("label");
  const input = document.createElement(categories ? "select" : "input");
  if (categories) input.append(...categories.map((each) => Object.assign(textNode("option", readable(each)), { value: each })));
  else Object.assign(input, { type: "number", step: "any", autocomplete: "off" });
  input.id = `field-${place}`;
  label.append(textNode("bdi", readable(name)), input);
  element("fields").append(label);
  return input;
}

async function start() {
  try {
    info = await ask("info");
  } catch (problem) {
    return say(problem.message, { isProblem: true });
  }
  document.title = `${readable(info.run ?? info.model)} - dlworkflow`;
  element("title").textContent = readable(info.run ?? info.model);
  const some = info.classes.slice(0, SHOWN_FIRST).map(readable).join(", ");
  const more = info.classes.length > SHOWN_FIRST ? ` and ${info.classes.length - SHOWN_FIRST} more` : "";
  const what = info.classes.length ? `${info.classes.length} classes: ${some}${more}` : `Predicts ${readable(info.target ?? "a number")}`;
  element("about").replaceChildren(textNode("bdi", what));
  element("more").addEventListener("click", () => show(shown, !all));
  element("again").addEventListener("click", () => {
    Object.assign(shown, { state: "waiting", error: undefined, again: false });
    waiting.push(shown);
    draw(shown);
    shown.button.focus({ preventScroll: true }); // the button that had the focus is gone
    say("Predicting again …", { isShown: true });
    send();
  });
  element("forget").addEventListener("click", forget);
  element("thresholds").hidden = !info.thresholds?.length;
  if (info.kind === "image") {
    takeImages();
    takePhotos(addFiles, (problem) => say(problem, { isProblem: true }));
  } else {
    takeRows();
  }
}

start();
