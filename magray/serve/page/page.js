// The page: pictures that are dropped, what is told of the film, and the question to the server.

import { answerNodes, usePracticalUnits } from "./answer.js";
import { byId, element, options, show } from "./dom.js";
import { cropOf, drawMarks, forgetLine, onChange, showPicture } from "./picture.js";
import { answersTable, printed, save } from "./report.js";
import { asked, askedInLines, reason } from "./server.js";

const LABELS = {
  Ms: "saturation magnetisation",
  Ku1: "uniaxial anisotropy",
  Keff: "Ku1 − µ0 Ms² / 2",
  Hk: "anisotropy field",
  Aex: "exchange stiffness",
  D: "DMI",
  thickness: "",
};
const DRAWS = 800;
const NEAREST = 4;
const state = { choices: null, pictures: [], current: null, answers: [], simulation: null };

async function begin() {
  const choices = await asked("/v1/choices");
  state.choices = choices;
  usePracticalUnits(choices.practical);
  byId("version").textContent = choices.version;
  options(byId("estimator"), choices.estimators);
  byId("constants").replaceChildren(...Object.entries(choices.constants).map(constantRow));
  for (const kind of ["dmi", "history"]) options(byId(kind), choices[kind], "not known");
  options(byId("instrument"), choices.instrument);
  byId("instrument").value = "microscope";
  chooseInstrument();
  options(byId("steps"), ["all", "none", ...choices.clean.map((step) => `-${step}`)]);
}

function chooseInstrument() {
  const limit = state.choices.resolution[byId("instrument").value];
  byId("resolution-row").hidden = !limit;
  byId("limited-by").textContent = limit ? `${limit}, nm, if known` : "";
  if (!limit) byId("resolution").value = "";
}

function constantRow([name, units]) {
  const unit = element("select", { id: `${name}-unit`, "aria-label": `Unit of ${name}` });
  options(unit, units, "unit");
  return element(
    "div",
    { class: "constant" },
    element("label", { for: name }, element("b", {}, name), LABELS[name] && ` ${LABELS[name]}`),
    element("input", { id: name, inputmode: "decimal", autocomplete: "off" }),
    element("span", {}, "±"),
    element("input", { id: `${name}-error`, "aria-label": `Error of ${name}`, inputmode: "decimal", autocomplete: "off" }),
    unit,
  );
}

// Pictures

async function add(files) {
  const most = state.choices.limits.pictures;
  for (const file of files) {
    if (file.size > state.choices.limits.bytes) {
      show(byId("picture-error"), `${file.name} is larger than ${state.choices.limits.bytes / 2 ** 20} MB; crop or shrink it`);
    } else if (state.pictures.length < 10 * most) {
      state.pictures.push({ file, record: null, channel: null });
    }
  }
  if (state.pictures.length) await select(state.pictures[state.pictures.length - files.length] ?? state.pictures[0]);
}

function drawChips() {
  byId("chips").hidden = state.pictures.length === 0;
  byId("drop").classList.toggle("small", state.pictures.length > 0);
  byId("viewer").hidden = !state.current?.record;
  byId("together").hidden = state.pictures.length < 2;
  byId("go").disabled = state.pictures.length === 0;
  byId("chips").replaceChildren(
    ...state.pictures.map((picture) => {
      const name = element("button", { type: "button" }, picture.file.name);
      name.addEventListener("click", () => select(picture));
      const away = element("button", { type: "button", "aria-label": `Remove ${picture.file.name}` }, "×");
      away.addEventListener("click", () => remove(picture));
      const chip = element("li", {}, name, away);
      chip.classList.toggle("current", picture === state.current);
      return chip;
    }),
  );
}

function remove(picture) {
  state.pictures = state.pictures.filter((one) => one !== picture);
  show(byId("picture-error"), "");
  if (state.current !== picture) return drawChips();
  state.current = null;
  return state.pictures.length ? select(state.pictures[0]) : drawChips();
}

async function select(picture) {
  if (state.current !== picture) forgetLine();
  state.current = picture;
  await look(picture);
}

async function look(picture) {
  const form = new FormData();
  form.append("picture", picture.file);
  const crop = cropOf();
  if (picture.channel) form.append("channel", picture.channel);
  if (crop) form.append("crop", crop.join(","));
  if (byId("clean").value) form.append("clean", byId("clean").value);
  show(byId("picture-error"), "");
  try {
    picture.record = await asked("/v1/picture", form);
    picture.channel = String(picture.record.channel);
  } catch (error) {
    picture.record = null;
    show(byId("picture-error"), reason(error));
  }
  drawChips();
  if (state.current === picture && picture.record) drawViewer(picture);
}

function drawViewer(picture) {
  const { record } = picture;
  showPicture(record);
  byId("channel-row").hidden = record.channels.length < 2;
  byId("channel").replaceChildren(
    ...record.channels.map((name, k) => element("option", { value: String(k + 1) }, `${k + 1} ${name}`)),
  );
  byId("channel").value = picture.channel;
  byId("read").textContent = record.read;
  byId("pixel").placeholder = record.pixel_nm ? `${Number(record.pixel_nm[0].toPrecision(4))}, from the file` : "not in the file";
  byId("done").replaceChildren(...record.done.map((line) => element("li", {}, line)));
  show(byId("doubt"), record.doubt);
  byId("seen-box").open ||= Boolean(record.doubt);
  byId("seen").hidden = !record.seen;
  if (record.seen) byId("seen").src = record.seen;
  measure();
}

// The size of a pixel follows from the line over the scale bar and its length.
function measure() {
  const pixels = number("line");
  const nm = number("line-length") * Number(byId("line-unit").value);
  let said = "";
  if (pixels > 0 && nm > 0) {
    byId("pixel").value = Number((nm / pixels).toPrecision(5));
    said = `The line of ${pixels} pixels is ${nm} nm long: a pixel is ${byId("pixel").value} nm.`;
  } else if (state.current?.record && !state.current.record.pixel_nm && !byId("pixel").value) {
    said = "The file does not tell the size of a pixel: draw a line over the scale bar and type its length, or type the size.";
  }
  byId("scale-note").textContent = said;
}

const typed = (id) => byId(id).value.trim().replace(",", ".");
const number = (id) => Number(typed(id) || NaN);

// The question

function questions() {
  const told = {};
  const estimator = byId("estimator").value;
  told.estimator = estimator;
  if (typed("pixel")) told.pixel_nm = typed("pixel");
  if (byId("crop").value.trim()) told.crop = byId("crop").value.replaceAll(" ", "");
  if (byId("clean").value.trim()) told.clean = byId("clean").value.trim();
  if (estimator === "any-film") {
    for (const name of Object.keys(state.choices.constants)) {
      const text = known(name);
      if (text) told[name] = text;
    }
    for (const kind of ["dmi", "history", "instrument"]) if (byId(kind).value) told[kind] = byId(kind).value;
    if (typed("resolution")) told.resolution_nm = typed("resolution");
  }
  return told;
}

function known(name) {
  const value = byId(name).value.trim();
  const error = byId(`${name}-error`).value.trim();
  const unit = byId(`${name}-unit`).value;
  if (!value && !error) return "";
  if (!error) return `${value} ${unit}`.trim();
  return error.endsWith("%") ? `${value} ${unit} ± ${error}` : `${value} ± ${error} ${unit}`.trim();
}

async function estimate(pictures, force) {
  const told = questions();
  const channels = new Set(pictures.map((picture) => (picture.record?.channels.length > 1 ? picture.channel : null)));
  if (channels.size > 1) throw new Error("pictures of one film are read from one channel; choose the same in each of them");
  const [channel] = channels;
  if (channel) told.channel = channel;
  const files = pictures.map(({ file }) => file);
  const form = formOf(files, told);
  form.append("draws", DRAWS);
  if (state.choices.films && told.estimator === "any-film") form.append("nearest", NEAREST);
  if (force) form.append("force", "true");
  const record = await asked("/v1/estimate", form);
  return { names: files.map((file) => file.name), files, asked: told, record };
}

function formOf(files, told) {
  const form = new FormData();
  for (const file of files) form.append("picture", file);
  for (const [name, value] of Object.entries(told)) form.append(name, value);
  return form;
}

async function ask(force = false) {
  const each = state.pictures.length > 1 && document.querySelector("input[name=together]:checked").value === "each";
  const groups = each ? state.pictures.map((picture) => [picture]) : [state.pictures];
  show(byId("error"), "");
  byId("go").disabled = true;
  state.simulation?.abort();
  state.answers = [];
  try {
    for (const [k, group] of groups.entries()) {
      byId("status").textContent = each ? `${k + 1} of ${groups.length} …` : "Estimating …";
      if (each && !group[0].record) await look(group[0]);
      state.answers.push(await (each ? answered(group, force) : estimate(group, force)));
    }
    drawAnswers();
  } catch (error) {
    byId("answer").hidden = true;
    show(byId("error"), reason(error));
  } finally {
    byId("status").textContent = "";
    byId("go").disabled = state.pictures.length === 0;
  }
}

// In a table a picture that cannot be read is a row, and not the end.
async function answered(group, force) {
  try {
    return await estimate(group, force);
  } catch (error) {
    const record = { parameters: {}, trust: "refused", reasons: [reason(error)] };
    return { names: [group[0].file.name], files: [group[0].file], asked: questions(), record };
  }
}

function drawAnswers() {
  const { answers } = state;
  const again = () => ask(true);
  byId("found").replaceChildren(...(answers.length > 1 ? [answersTable(answers)] : answerNodes(answers[0].record, again)));
  byId("resimulation").hidden = answers.length > 1 || !canBeSimulated(answers[0]);
  show(byId("resimulation-error"), "");
  byId("answer").hidden = false;
  byId("answer").focus({ preventScroll: true });
  byId("answer").scrollIntoView({ behavior: "smooth", block: "nearest" });
}

// Films of the answer

const canBeSimulated = ({ asked: { estimator }, record }) => estimator === "any-film" && record.trust !== "refused" && !record.resimulation;

async function resimulate() {
  const [answer] = state.answers;
  const simulation = (state.simulation = new AbortController());
  const began = Date.now();
  let expected = "starting";
  const tell = () => (byId("simulating").textContent = `${expected}; ${Math.round((Date.now() - began) / 1000)} s so far`);
  const clock = setInterval(tell, 1000);
  tell();
  show(byId("resimulation-error"), "");
  byId("resimulate").hidden = !(byId("stop").hidden = false);
  try {
    for await (const line of askedInLines("/v1/resimulate", formOf(answer.files, answer.asked), simulation.signal)) {
      if (line.problem) throw new Error(line.problem);
      if (line.expected) expected = line.expected;
      if (line.answer && !simulation.signal.aborted) Object.assign(answer.record, line.answer), drawAnswers();
    }
  } catch (error) {
    if (!simulation.signal.aborted) show(byId("resimulation-error"), reason(error));
  } finally {
    clearInterval(clock);
    byId("simulating").textContent = "";
    byId("resimulate").hidden = !(byId("stop").hidden = true);
  }
}

// Downloads

async function session() {
  const style = await (await fetch("/page.css")).text();
  const images = state.pictures.flatMap(({ file, record }) =>
    record ? [{ of: file.name, title: "As it was read", source: record.picture }, ...(record.seen ? [{ of: file.name, title: "As the network saw it", source: record.seen }] : [])] : [],
  );
  for (const answer of state.answers) answer.digests = await Promise.all(answer.files.map(digest));
  return { version: state.choices.version, answers: state.answers, style, images, time: new Date().toISOString() };
}

async function print() {
  byId("report").replaceChildren(printed(await session()));
  document.body.classList.add("printing");
  window.print();
}

async function digest(file) {
  if (!crypto.subtle) return "not computed: the page is not on a secure connection";
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Events

byId("files").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = "";
});
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  });
}
addEventListener("dragleave", () => byId("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  add([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) add([...event.clipboardData.files]);
});
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("estimator").addEventListener("change", () => (byId("knowns").hidden = byId("estimator").value !== "any-film"));
byId("instrument").addEventListener("change", chooseInstrument);
byId("channel").addEventListener("change", () => {
  state.current.channel = byId("channel").value;
  look(state.current);
});
byId("clean").addEventListener("change", () => state.current && look(state.current));
onChange(() => (drawMarks(), measure(), state.current && look(state.current)));
for (const id of ["line", "line-length", "line-unit"]) byId(id).addEventListener("input", measure);
byId("pixel").addEventListener("input", () => {
  byId("line-length").value = "";
  measure();
});
byId("resimulate").addEventListener("click", resimulate);
byId("stop").addEventListener("click", () => state.simulation.abort());
byId("downloads").addEventListener("click", async ({ target: { dataset } }) => dataset.save && save(dataset.save, await session()));
byId("print").addEventListener("click", print);
addEventListener("afterprint", () => {
  document.body.classList.remove("printing");
  byId("report").replaceChildren();
});

begin().catch((error) => show(byId("error"), reason(error)));
