// Asks for the trainings again and again while the page is seen, and renews what has changed.

const PAUSE = 5000; // milliseconds between two renewals, at least
const COST = 100; // times what a renewal took pass until the next: a training may need the machine
const $ = (selector, within = document) => within.querySelector(selector);
const articles = new Map(); // by the key of a run
const views = new WeakMap(); // what each figure shows
const chosen = new Set();
let shown = ""; // the answer that the page shows
let turn = Promise.resolve(); // ends with the last renewal asked for

async function ask() {
  const opened = [...articles].filter(([, article]) => $(".more", article).open);
  const keys = [...opened.map(([key]) => ["open", key]), ...[...chosen].map((key) => ["compare", key])];
  const answer = await fetch(`runs?${new URLSearchParams(keys)}`);
  if (!answer.ok) throw new Error(`runs: ${answer.status}`);
  return answer.text();
}

function put(element, text) { // a text from elsewhere is never HTML
  if (element.textContent !== text) element.textContent = text;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function figures(run) {
  const parts = [`epoch ${+run.epoch.toFixed(2)} of ${run.epochs}`];
  if (run.speed > 0) {
    parts.push(`${Math.round(run.speed).toLocaleString("en")} images/s`);
    parts.push(`about ${duration(run.left)} left`);
  } else if (run.state !== "running") parts.push(run.used);
  return parts.join(" · ");
}

async function draw(place, charts) {
  while (place.children.length > charts.length) place.lastElementChild.remove();
  // All of them first: each is drawn as wide as the others leave room.
  while (place.children.length < charts.length) place.append($("#chart").content.cloneNode(true));
  for (const [i, chart] of charts.entries()) await fill(place.children[i], chart);
}

async function fill(figure, { title, caption, spec }) {
  put($("h3", figure), title);
  put($("figcaption", figure), caption);
  const { data, description, ...rest } = spec;
  const now = { look: JSON.stringify(rest), values: JSON.stringify(data.values) };
  const last = views.get(figure);
  if (last?.look === now.look) { // other values cost much less than another drawing
    if (last.values !== now.values) {
      await last.view.description(description).data(data.name, data.values).runAsync();
      last.values = now.values;
    }
    return;
  }
  const next = document.createElement("div"); // is drawn unseen, so that nothing flickers
  next.className = "next";
  const frame = $(".chart", figure);
  frame.append(next);
  const { view } = await vegaEmbed(next, spec,
    { actions: false, renderer: "svg", tooltip: { disableDefaultStyle: true } });
  next.classList.remove("next");
  while (frame.firstElementChild !== next) frame.firstElementChild.remove();
  last?.view.finalize();
  views.set(figure, { view, ...now });
}

async function unfold(article, { log, charts }) {
  const place = $("pre", article);
  const atEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 4;
  put(place, log);
  if (atEnd) place.scrollTop = place.scrollHeight; // follows, unless somebody reads further up
  await draw($(".charts", article), charts);
}

function made(run) {
  const article = $("#run").content.cloneNode(true).firstElementChild;
  const more = $(".more", article);
  more.open = run.state === "running";
  more.addEventListener("toggle", () => more.open && renew());
  $("input", article).addEventListener("change", (event) => {
    chosen[event.target.checked ? "add" : "delete"](run.key);
    renew();
  });
  articles.set(run.key, article);
  return article;
}

function tell(run) {
  const article = articles.get(run.key) ?? made(run);
  put($(".name", article), run.name);
  const state = $(".state", article);
  put(state, run.state);
  state.className = `state ${run.state}`;
  const progress = $("progress", article);
  progress.value = run.epochs > 0 ? run.epoch / run.epochs : 0;
  progress.ariaLabel = `progress of ${run.name}`;
  put($(".figures", article), figures(run));
  put($(".changes", article), run.changes.join("  ") || "as in params.yaml");
  return article;
}

function arrange(section, wanted) {
  section.hidden = wanted.length === 0;
  const list = $(".list", section);
  wanted.forEach((article, i) => {
    if (list.children[i] !== article) list.insertBefore(article, list.children[i] ?? null);
  });
}

async function show() {
  const text = await ask();
  if (text === shown) return;
  const { folder, runs, opened, compared } = JSON.parse(text);
  const known = new Set(runs.map((run) => run.key));
  for (const [key, article] of articles) {
    if (known.has(key)) continue;
    article.remove();
    articles.delete(key);
    chosen.delete(key);
  }
  const running = runs.filter((run) => run.state === "running");
  const over = runs.filter((run) => run.state !== "running");
  arrange($("#running"), running.map(tell));
  arrange($("#over"), over.map(tell));
  $("#none").hidden = runs.length > 0;
  put($("#summary"), `${running.length} under way, ${over.length} finished or stopped, in ${folder}`);
  document.title = `${running.length ? `${running.length} under way: ` : ""}toypipe watch`;
  for (const [key, inside] of Object.entries(opened)) await unfold(articles.get(key), inside);
  $("#compared").hidden = compared.length === 0;
  await draw($("#compared .charts"), compared);
  shown = text;
}

function renew() { // one at a time
  turn = turn.then(show).then(() => { $("#lost").hidden = true; }, () => { $("#lost").hidden = false; });
  return turn;
}

async function forever() {
  const start = performance.now();
  if (!document.hidden) await renew();
  setTimeout(forever, Math.max(PAUSE, COST * (performance.now() - start)));
}

forever();
