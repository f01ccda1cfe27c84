// Downloads of an answer: JSON, a row of CSV, and one page for the lab book.

import { answerNodes, inPractice } from "./answer.js";
import { element } from "./dom.js";

export function save(kind, session) {
  const made = { json: asJson, csv: asCsv, html: asReport }[kind](session);
  const types = { json: "application/json", csv: "text/csv", html: "text/html" };
  const url = URL.createObjectURL(new Blob([made], { type: `${types[kind]};charset=utf-8` }));
  element("a", { href: url, download: `magray.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function asJson({ version, answers }) {
  const records = answers.map(({ names, asked, record }) => {
    const { draws, films, nearest, ...kept } = record;
    return { pictures: names, asked, answer: kept };
  });
  return JSON.stringify({ magray: version, answers: records }, null, 1);
}

function asCsv({ answers }) {
  const parameters = [...new Set(answers.flatMap(({ record }) => Object.keys(record.parameters)))];
  const fields = ["value", "error", "low68", "high68", "low95", "high95", "unit"];
  const options = [...new Set(answers.flatMap(({ asked }) => Object.keys(asked)))];
  const head = ["pictures", ...parameters.flatMap((name) => fields.map((field) => `${name} ${field}`)), "trust", "reasons", ...options];
  const rows = answers.map(({ names, asked, record }) => [
    names.join("; "),
    ...parameters.flatMap((name) => fields.map((field) => record.parameters[name]?.[field] ?? "")),
    record.trust,
    record.reasons.join("; "),
    ...options.map((option) => asked[option] ?? ""),
  ]);
  return [head, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

// Quoted where it must be, and never what a spreadsheet takes for a formula.
function cell(value) {
  const text = typeof value === "string" && /^[=+\-@\t]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function asReport({ style, ...session }) {
  const page = document.implementation.createHTMLDocument("magray: answer");
  const meta = page.createElement("meta");
  meta.setAttribute("charset", "utf-8");
  page.head.prepend(meta);
  page.body.append(page.importNode(printed(session), true));
  const html = page.documentElement.outerHTML.replace("</head>", () => `<style>${style}</style></head>`); // page.css
  return `<!doctype html>\n${html}\n`;
}

// Answers with all that repeats them; each begins a page of paper.
export function printed({ version, answers, images, time }) {
  const main = element("main", { class: "report" });
  main.append(element("header", {}, element("p", { class: "eyebrow" }, `magray ${version}`), element("h1", {}, "Answer"), element("p", {}, time)));
  for (const { names, digests, asked, record } of answers) {
    const section = element("section", {}, element("h2", {}, names.join(", ")), ...answerNodes(record));
    const repeat = [...Object.entries(asked), ...names.map((name, k) => [`SHA-256 of ${name}`, digests[k]])];
    const shown = images.filter(({ of }) => names.includes(of)).map(({ title, source }) =>
      element("figure", {}, element("img", { src: source, alt: "" }), element("figcaption", {}, title)),
    );
    section.append(
      element("div", { class: "repeat" }, element("div", {}, element("h3", {}, "To repeat it"), table(repeat)), element("div", { class: "figures" }, ...shown)),
    );
    main.append(section);
  }
  return main;
}

function table(rows) {
  const lines = rows.map(([name, value]) => element("tr", {}, element("th", {}, name), element("td", {}, value)));
  return element("div", { class: "table" }, element("table", {}, ...lines));
}

// Answers of several films, a row for each.
export function answersTable(answers) {
  const names = [...new Set(answers.flatMap(({ record }) => Object.keys(record.parameters)))];
  const units = Object.fromEntries(answers.flatMap(({ record }) => Object.entries(record.parameters).map(([name, one]) => [name, one.unit])));
  const head = element("tr", {}, ...["picture", ...names.map((name) => `${name}, ${inPractice(units[name]).unit}`), "trust", "reasons"].map((one) => element("th", {}, one)));
  const rows = answers.map(({ names: pictures, record }) => {
    const values = names.map((name) => {
      const one = record.parameters[name];
      const { factor } = inPractice(units[name]);
      return one ? `${Number((one.value * factor).toPrecision(3))} ± ${Number((one.error * factor).toPrecision(2))}` : "–";
    });
    const cells = [pictures.join(", "), ...values].map((one) => element("td", {}, one));
    return element("tr", {}, ...cells, element("td", { class: record.trust }, record.trust), element("td", {}, record.reasons.join("; ")));
  });
  return element("div", { class: "table" }, element("table", {}, head, ...rows));
}
