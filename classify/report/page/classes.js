// The table of classes, sorted by any of its columns.
const COLUMNS = [
  { title: "Class", of: (row) => className(row[0]), first: "ascending" },
  { title: "Photos", of: (row) => row[1], first: "descending", kind: "number" },
  { title: "Evaluated", of: (row) => row[2], first: "descending", kind: "number" },
  { title: "Precision", of: (row) => row[3], first: "ascending", kind: "rated" },
  { title: "Recall", of: (row) => row[4], first: "ascending", kind: "rated" },
  { title: "F1", of: (row) => row[5], first: "ascending", kind: "number" },
  { title: "ROC AUC", of: (row) => row[6], first: "ascending", kind: "number" },
  { title: "PR AUC", of: (row) => row[7], first: "ascending", kind: "number" },
];
const OTHER = { ascending: "descending", descending: "ascending" };

function showClasses() {
  const { rows, total } = data.table;
  tell("classes", rows.length < total ? sample(rows.length, total, "the lowest recall first", ["class", "classes"]) : "");
  const body = el("tbody");
  const heads = COLUMNS.map((column) => {
    const head = el("th", { scope: "col", class: column.kind }, el("button", { class: "sort", type: "button" }, column.title));
    head.addEventListener("click", () => order(column, OTHER[head.getAttribute("aria-sort")] || column.first));
    return head;
  });
  function order(column, direction) {
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[COLUMNS.indexOf(column)].setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const known = rows.filter((row) => column.of(row) !== null).sort((a, b) => sign * compare(column.of(a), column.of(b)));
    body.replaceChildren(...[...known, ...rows.filter((row) => column.of(row) === null)].map(classRow));
  }
  order(COLUMNS[4], "ascending");
  find("classes", "table").append(el("table", { class: "table" }, el("thead", {}, el("tr", {}, heads)), body));
}

function compare(a, b) {
  return typeof a === "string" ? a.localeCompare(b) : a - b;
}

function classRow([code, embedded, evaluated, precision, recall, f1, rocAuc, prAuc]) {
  return el("tr", {},
    el("th", { scope: "row" }, swatch(code), nameOf(code)),
    el("td", { class: "number" }, count(embedded)), el("td", { class: "number" }, count(evaluated)),
    el("td", {}, rate(precision)), el("td", {}, rate(recall)),
    [f1, rocAuc, prAuc].map((value) => el("td", { class: "number" }, value === null ? "–" : value.toFixed(3))));
}

function rate(share) {
  return el("div", { class: "rate" }, meter(share, share !== null && share < 0.5 ? "wrong" : "", 8), el("span", {}, percent(share)));
}

function showFailures() {
  if (!data.failures) return;
  const { rows, total } = data.failures;
  tell("failures", sample(rows.length, total, "", ["file", "files"]));
  find("failures", "table").append(table([["File"], ["Reason"]],
    rows.map(([path, reason]) => el("tr", {}, el("th", { scope: "row" }, el("bdi", {}, path)), el("td", {}, el("bdi", {}, reason))))));
}
