// Asks for the trainings every two seconds while the page is seen, and renews what has changed.

const PAUSE = 2000; // milliseconds
const $ = (selector, within = document) => within.querySelector(selector);
const articles = new Map(); // by the key of a run
const drawn = new WeakMap(); // what each element of charts shows, as text
const chosen = new Set();

async function ask(what, keys = []) {
  const query = keys.map((key) => `run=${key}`).join("&");
  const answer = await fetch(`${what}?${query}`);
  if (!answer.ok) throw new Error(`${what}: ${answer.status}`);
  return answer.json();
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

async function draw(place, keys) {
  const charts = await ask("charts", keys);
  const text = JSON.stringify(charts);
  if (drawn.get(place) === text) return;
  drawn.set(place, text);
  while (place.children.length > charts.length) place.lastElementChild.remove();
  for (const [i, chart] of charts.entries()) {
    if (!place.children[i]) place.append($("#chart").content.cloneNode(true));
    const figure = place.children[i];
    put($("h3", figure), chart.title);
    put($("figcaption", figure), chart.caption);
    const frame = $(".chart", figure);
    const next = document.createElement("div"); // is drawn unseen, so that nothing flickers
    next.className = "next";
    frame.append(next);
    await vegaEmbed(next, chart.spec,
      { actions: false, renderer: "svg", tooltip: { disableDefaultStyle: true } });
    next.classList.remove("next");
    while (frame.firstElementChild !== next) frame.firstElementChild.remove();
  }
}

async function fill(article, key) {
  const log = $("pre", article);
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  put(log, await ask("log", [key]));
  if (atEnd) log.scrollTop = log.scrollHeight; // follows, unless somebody reads further up
  await draw($(".charts", article), [key]);
}

function made(run) {
  const article = $("#run").content.cloneNode(true).firstElementChild;
  const more = $(".more", article);
  more.open = run.state === "running";
  more.addEventListener("toggle", () => more.open && fill(article, run.key).catch(lose));
  $("input", article).addEventListener("change", (event) => {
    chosen[event.target.checked ? "add" : "delete"](run.key);
    compare().catch(lose);
  });
  articles.set(run.key, article);
  return article;
}

function show(run) {
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

async function compare() {
  const keys = [...chosen];
  $("#compared").hidden = keys.length < 2;
  if (keys.length > 1) await draw($("#compared .charts"), keys);
}

async function renew() {
  const { folder, runs } = await ask("runs");
  const known = new Set(runs.map((run) => run.key));
  for (const [key, article] of articles) {
    if (known.has(key)) continue;
    article.remove();
    articles.delete(key);
    chosen.delete(key);
  }
  const running = runs.filter((run) => run.state === "running");
  const over = runs.filter((run) => run.state !== "running");
  arrange($("#running"), running.map(show));
  arrange($("#over"), over.map(show));
  $("#none").hidden = runs.length > 0;
  put($("#summary"), `${running.length} under way, ${over.length} finished or stopped, in ${folder}`);
  document.title = `${running.length ? `${running.length} under way: ` : ""}toypipe watch`;
  for (const run of running) {
    const article = articles.get(run.key);
    if ($(".more", article).open) await fill(article, run.key);
  }
  await compare();
}

function lose() {
  $("#lost").hidden = false;
}

async function forever() {
  try {
    if (!document.hidden) await renew();
    $("#lost").hidden = true;
  } catch {
    lose();
  }
  setTimeout(forever, PAUSE);
}

forever();
