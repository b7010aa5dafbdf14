"use strict";
// The page can be read without this script. It adds sorting, search, downloads and the gene search.
const byId = id => document.getElementById(id);
const plainText = part => { try { return decodeURIComponent(part); } catch { return part; } };  // of an address

async function unpacked(element) {
  const bytes = Uint8Array.from(atob(element.textContent), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function save(content, type, name) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], {type}));
  make("a", {href: url, download: name.replace(/[^A-Za-z0-9._-]+/g, "_")}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// --- tables -------------------------------------------------------------------------------------
let library = null;
function tableLibrary() {
  library ??= (async () => {
    const url = URL.createObjectURL(new Blob([await unpacked(byId("library"))], {type: "text/javascript"}));
    const DataTable = (await import(url)).default;
    URL.revokeObjectURL(url);
    // cells such as "0.31 (0.2 to 0.4)" or "1,437" are ordered by their first number
    DataTable.ext.type.order["first-number-pre"] = cell => {
      const found = String(cell).replace(/<[^>]*>|,/g, "").match(/-?\d+(\.\d+)?/);
      return found ? Number(found[0]) : -Infinity;
    };
    return DataTable;
  })();
  return library;
}

function settings(table, rows) {
  const numeric = [...table.tHead.rows[0].cells].flatMap((c, i) => c.classList.contains("n") ? [i] : []);
  return {
    autoWidth: false, order: [], paging: rows > 25, pageLength: 25, info: rows > 25, searching: rows > 5,
    lengthMenu: [[25, 100, -1], [25, 100, "all"]],
    columnDefs: [{targets: numeric, type: "first-number", className: "n"}],
    language: {search: "Search rows:", lengthMenu: "_MENU_ rows per page", info: "_START_ to _END_ of _TOTAL_ rows",
      infoEmpty: "no rows", infoFiltered: "(of _MAX_)", zeroRecords: "no row matches", emptyTable: "no rows"},
  };
}

const done = new WeakSet();
async function enhance(table) {
  if (done.has(table)) return;
  done.add(table);
  const held = document.querySelector(`script.rows[data-for="${table.id}"]`);
  const rows = held ? await unpacked(held) : null;
  const DataTable = await tableLibrary();
  if (rows !== null) table.tBodies[0].innerHTML = rows; // written and escaped when the page was made
  if (!table.tBodies[0].rows.length) return;
  new DataTable(table, settings(table, table.tBodies[0].rows.length));
  for (const note of document.querySelectorAll(".rest.held")) {
    if (note.previousElementSibling?.contains(table)) note.hidden = true;
  }
}

function csvButton(csv, name, label, title) {
  const button = make("button", {type: "button", textContent: "CSV", title});
  button.setAttribute("aria-label", label);
  button.addEventListener("click", async () => save(await unpacked(csv), "text/csv", `${name}.csv`));
  return button;
}

function addTableTools() {
  for (const table of document.querySelectorAll("table[data-csv]")) {
    const name = `${table.dataset.file}-${table.id}`.replace(/\//g, "-");
    const button = csvButton(byId(table.dataset.csv), name, `Download CSV: ${table.caption.textContent}`, "Download the rows of the table with all columns");
    table.closest(".scroll").before(make("div", {className: "tools"}, button));
  }
  const seen = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); enhance(entry.target); }
  }, {rootMargin: "200px"});
  for (const table of document.querySelectorAll("table.data")) seen.observe(table);
}

// --- figures ------------------------------------------------------------------------------------
function svgText(svg) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("xmlns:xlink", "http://www.w3.org/1999/xlink");
  return new XMLSerializer().serializeToString(copy);
}

async function savePng(svg, name) {
  const box = svg.viewBox.baseVal, scale = 3;
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([svgText(svg)], {type: "image/svg+xml"}));
  await image.decode();
  const canvas = make("canvas", {width: box.width * scale, height: box.height * scale});
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  canvas.toBlob(blob => save(blob, "image/png", `${name}.png`));
}

// marks say their value as a tooltip; buttons go through them, for keyboards and fingers
function markButtons(figure, name) {
  const says = make("p", {className: "soft mark"});
  says.setAttribute("aria-live", "polite");
  let at = -1;
  const show = mark => {
    figure.querySelector("svg .current")?.classList.remove("current");
    mark.classList.add("current");
    says.textContent = mark.querySelector("title").textContent;
  };
  const marks = () => [...figure.querySelectorAll("svg title")].map(title => title.parentElement);
  const button = (text, step, label) => {
    const element = make("button", {type: "button", textContent: text, title: label});
    element.setAttribute("aria-label", `${label}: ${name}`);
    element.addEventListener("click", () => {
      const all = marks();
      if (!all.length) return;
      at = (at + step + all.length) % all.length;
      show(all[at]);
    });
    return element;
  };
  figure.querySelector(".scroll").addEventListener("click", event => {
    const mark = event.target.closest("svg :has(> title)");
    if (mark) { at = marks().indexOf(mark); show(mark); }
  });
  return [button("\u2039", -1, "Previous value"), button("\u203a", 1, "Next value"), says];
}

function addFigureTools() {
  for (const figure of document.querySelectorAll("figure[data-name]")) {
    const name = figure.dataset.name, drawn = () => figure.querySelector("svg");
    const asSvg = make("button", {type: "button", textContent: "SVG"});
    const asPng = make("button", {type: "button", textContent: "PNG"});
    asSvg.setAttribute("aria-label", `Download SVG: ${name}`);
    asPng.setAttribute("aria-label", `Download PNG: ${name}`);
    asSvg.addEventListener("click", () => save(svgText(drawn()), "image/svg+xml", `${name}.svg`));
    asPng.addEventListener("click", () => savePng(drawn(), name));
    const tools = make("div", {className: "tools"}, asSvg, asPng), csv = byId(figure.dataset.csv);
    if (csv && "DecompressionStream" in window) tools.append(csvButton(csv, name, `Download CSV of the figure: ${name}`, "Download the rows that the figure draws"));
    tools.append(...markButtons(figure, name));
    figure.append(tools);
  }
}

async function unpackFigures() {
  for (const held of document.querySelectorAll("script.svg")) {
    const svg = await unpacked(held);
    held.closest(".scroll").innerHTML = svg; // drawn and escaped when the page was made
    await new Promise(resolve => setTimeout(resolve));
  }
}

// --- gene search --------------------------------------------------------------------------------
const HEADS = ["direction", "gene", "model", "category", "layer", "gene set", "view", "rank", "value", "cells", "edge in network", "co-expression quantile"];
const NUMBERS = new Set([4, 7, 8, 9, 11]);
const ATTENDS = "attends to", ATTENDED = "attended to by", CORRELATES = "correlates with";
let genes = null;

function shown(x) {
  if (x === null || x === undefined) return "n/a";
  if (Number.isInteger(x) || Math.abs(x) >= 99.5) return x.toLocaleString("en", {maximumFractionDigits: 0});
  return x.toLocaleString("en", {maximumSignificantDigits: 2});
}

function geneData() {
  genes ??= unpacked(byId("gene-data")).then(text => {
    const data = JSON.parse(text);
    data.at = new Map();
    data.genes.forEach(([id, symbol], i) => {
      for (const name of new Set([id.toUpperCase(), symbol.toUpperCase()])) {
        data.at.set(name, [...(data.at.get(name) ?? []), i]);
      }
    });
    return data;
  });
  return genes;
}

function pairsOf(data, wanted) {
  const rows = [];
  let i = 0;
  (data.matrices ?? []).forEach((matrix, m) => {
    // co-expression has no direction: each pair stands there twice
    const ends = data.correlations.includes(matrix[0]) ? [["query", "key", CORRELATES]]
      : [["query", "key", ATTENDS], ["key", "query", ATTENDED]];
    for (const end = i + data.sizes[m]; i < end; i++) {
      for (const [own, other, direction] of ends) {
        if (wanted.includes(data[own][i])) {
          const [model, category, layer, set, view] = matrix;
          rows.push([direction, data[other][i], model, category, layer, set, view, data.rank[i], data.value[i],
            data.cells[i], data.edges[data.edge[i]], data.coexpression[i] ?? null]);
        }
      }
    }
  });
  return rows.sort((a, b) => a[7] - b[7]);
}

function suggestions(data, name) {
  const near = data.genes.filter(([id, s]) => s.toUpperCase().startsWith(name.slice(0, 3)) || id.startsWith(name));
  return near.slice(0, 5).map(([, symbol]) => symbol);
}

// who stands most often at the other end, in how many lists of how many models
function partners(data, rows, direction, lists) {
  const of = new Map();
  for (const row of rows) if (row[0] === direction) {
    const partner = of.get(row[1]) ?? {count: 0, models: new Set()};
    partner.count++;
    partner.models.add(row[2]);
    of.set(row[1], partner);
  }
  const most = [...of].sort(([, a], [, b]) => b.count - a.count || b.models.size - a.models.size).slice(0, 5);
  const parts = most.flatMap(([gene, {count, models}], n) => [
    n ? ", " : "",
    make("a", {href: `#gene=${encodeURIComponent(data.genes[gene][0])}`, textContent: data.genes[gene][1]}),
    n ? ` (${shown(count)}; ${models.size})` : ` (in ${shown(count)} of ${shown(lists)} lists, of ${models.size} attention ${models.size === 1 ? "variant" : "variants"})`,
  ]);
  return parts.length ? parts.concat(of.size > 5 ? `; ${shown(of.size)} genes in all.` : ".") : ["none of its top pairs."];
}

async function lookUp(text) {
  const data = await geneData(), answer = byId("gene-answer");
  const name = text.trim().toUpperCase().replace(/^(ENS[A-Z]*G\d+)\.\d+$/, "$1");
  answer.replaceChildren();
  if (!name) return;
  byId("gene-name").value = text.trim();
  const wanted = data.at.get(name);
  if (!wanted) {
    const near = suggestions(data, name);
    answer.append(make("p", {textContent: `No model of this run ranks a gene ${text.trim()}.${near.length ? ` Near it: ${near.join(", ")}.` : ""}`}));
    return;
  }
  const attends = (data.matrices ?? []).map(m => !data.correlations.includes(m[0]));
  const rows = pairsOf(data, wanted), total = (data.sizes ?? []).reduce((a, b, i) => a + (attends[i] ? b : 0), 0);
  const title = wanted.map(i => data.genes[i][1] === data.genes[i][0] ? data.genes[i][0] : `${data.genes[i][1]} (${data.genes[i][0]})`).join(", ");
  const ranked = Object.entries(data.models).filter(([, axis]) => wanted.some(i => axis.includes(i))).map(([m]) => m);
  const [to, by, correlated] = [ATTENDS, ATTENDED, CORRELATES].map(d => rows.filter(r => r[0] === d).length);
  const lists = attends.filter(Boolean).length;
  const of = data.left_out ? " that this page holds" : "";
  const line = to + by
    ? `${title} stands in ${shown(to + by)} of ${shown(total)} top pairs${of}: it attends to a gene in ${shown(to)}, and a gene attends to it in ${shown(by)}.`
    : `${title} stands in none of ${shown(total)} top pairs${of}.`;
  answer.append(make("p", {className: "gene-line", textContent: `${line} Models that rank it: ${ranked.join(", ")}.`}));
  if (to + by) {
    answer.append(make("dl", {className: "partners"},
      make("dt", {textContent: "Attended to, most often, by"}), make("dd", {}, ...partners(data, rows, ATTENDED, lists)),
      make("dt", {textContent: "Attends most often to"}), make("dd", {}, ...partners(data, rows, ATTENDS, lists))));
  }
  if (correlated) answer.append(make("p", {textContent: `Co-expression, for comparison: it stands in ${shown(correlated)} of the top correlations.`}));
  if (data.left_out) answer.append(make("p", {className: "part", textContent: data.left_out}));
  const notes = [data.sources, data.coexpression_name ? `Co-expression quantile: ${data.coexpression_name}, of pairs in the consensus network; n/a elsewhere.` : "Co-expression of the pairs is not in the consensus networks of this run."];
  answer.append(make("p", {className: "soft", textContent: notes.filter(Boolean).join(" ")}));
  if (!rows.length) return;
  await showPairs(data, rows, answer, wanted.map(i => data.genes[i][1]).join("-"));
}

async function showPairs(data, rows, answer, name) {
  const head = make("tr", {}, ...HEADS.map((text, i) => make("th", {scope: "col", className: NUMBERS.has(i) ? "n" : "", textContent: text})));
  const table = make("table", {id: "gene-pairs", className: "data wide"}, make("caption", {textContent: `Top pairs of ${name}`}), make("thead", {}, head), make("tbody"));
  const filters = make("div", {className: "tools"});
  answer.append(filters, make("div", {className: "scroll"}, table));
  table.parentElement.tabIndex = 0;
  const DataTable = await tableLibrary();
  const text = i => data.genes[i][1];
  const escaped = x => make("i", {textContent: x}).innerHTML;
  const labels = HEADS.map((h, i) => `#gene-pairs td:nth-child(${i + 1})::before{content:"${h}"}`).join("\n");
  answer.append(make("style", {textContent: `@media print, (max-width: 700px) {${labels}}`}));
  const made = new DataTable(table, {...settings(table, rows.length), data: rows,
    columns: HEADS.map((_, i) => ({render: (x, kind) => kind !== "display" ? (i === 1 ? `${text(x)} ${data.genes[x][0]}` : x ?? -1)
      : i === 1 ? `<a href="#gene=${encodeURIComponent(data.genes[x][0])}" title="${data.genes[x][0].replace(/[^\w.-]/g, "")}">${escaped(text(x))}</a>`
      : NUMBERS.has(i) && i !== 4 ? shown(x) : escaped(String(x))}))});
  for (const i of [0, 2, 3, 4, 6]) {
    const values = [...new Set(rows.map(r => r[i]))];
    if (values.length < 2) continue;
    const select = make("select", {}, make("option", {value: "", textContent: `all: ${HEADS[i]}`}), ...values.map(v => make("option", {value: v, textContent: v})));
    select.setAttribute("aria-label", HEADS[i]);
    select.addEventListener("change", () => made.search.fixed(`pick-${i}`, select.value === "" ? null : (_, row) => String(row[i]) === select.value).draw());
    filters.append(select);
  }
  const button = make("button", {type: "button", textContent: "CSV"});
  button.setAttribute("aria-label", `Download CSV: top pairs of ${name}`);
  button.addEventListener("click", () => {
    const quoted = x => /[",\n]/.test(x) ? `"${x.replace(/"/g, '""')}"` : x;
    const line = r => r.map((x, i) => quoted(String(i === 1 ? data.genes[x][0] : x ?? ""))).concat(quoted(text(r[1]))).join(",");
    const kept = made.rows({search: "applied", order: "applied"}).data().toArray();
    save([[...HEADS, "gene symbol"].join(","), ...kept.map(line)].join("\n") + "\n", "text/csv", `top-pairs-${name}.csv`);
  });
  filters.append(button);
}

function startGeneSearch() {
  byId("gene-form").hidden = false;
  const input = byId("gene-name"), list = byId("gene-names");
  input.addEventListener("focus", async () => {
    const data = await geneData();
    if (!list.childElementCount) list.append(...data.genes.slice(0, 5000).map(([id, symbol]) => make("option", {value: symbol, label: id})));
  }, {once: true});
  byId("gene-form").addEventListener("submit", event => {
    event.preventDefault();
    const hash = `#gene=${encodeURIComponent(input.value.trim())}`;
    if (location.hash === hash) lookUp(input.value); else location.hash = hash;
  });
  const follow = async () => {
    if (!location.hash.startsWith("#gene=")) return;
    await lookUp(plainText(location.hash.slice(6)));
    byId("gene").scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();
}

// a link to what lies in a fold opens it
function openTarget() {
  const target = location.hash.startsWith("#gene=") ? null : byId(plainText(location.hash.slice(1)));
  if (!target) return;
  for (let fold = target.querySelector(":scope > details.model-body") ?? target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", openTarget);
// the same link again, after the fold was closed
addEventListener("click", event => { if (event.target.closest?.("a")?.hash === location.hash && location.hash) openTarget(); });
openTarget();

// folds are open on paper
const folds = () => [...document.querySelectorAll("details:not([open])")];
let closed = [];
addEventListener("beforeprint", () => { closed = folds(); closed.forEach(d => { d.open = true; }); });
addEventListener("afterprint", () => closed.forEach(d => { d.open = false; }));

if ("DecompressionStream" in window) {
  addTableTools();
  if (byId("gene-form")) startGeneSearch();
  unpackFigures();
}
addFigureTools();
