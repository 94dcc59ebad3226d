/** /docs: the table of routes as one page for people, whole without any other file. */

import type { Route } from "./route.ts";
import { softwareVersion } from "./software.ts";

export function docsPage(routes: readonly Route[], url: string): string {
  const tags = [...new Set(routes.map((route) => route.docs.tag))];
  const sections = tags.map((tag) => {
    const entries = routes.filter((route) => route.docs.tag === tag).map((route) => entry(route, url));
    return `<h2>${escapeHtml(tag)}</h2>\n${entries.join("\n")}`;
  });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Millrace HTTP API</title>
<style>${STYLE}</style>
<h1>Millrace HTTP API <small>${escapeHtml(softwareVersion)}</small></h1>
<p>For programs: <a href="/openapi.json">openapi.json</a>, an OpenAPI 3.1 document.</p>
${sections.join("\n")}
</html>
`;
}

function entry(route: Route, url: string): string {
  const { method, path, docs } = route;
  const description = docs.description === undefined ? "" : `<p>${escapeHtml(docs.description)}</p>`;
  const answers = Object.entries(docs.answers).map(([status, answer]) => {
    const example = answer.example === undefined ? "" : `<pre>${escapeHtml(JSON.stringify(answer.example))}</pre>`;
    return `<tr><td>${status}<td>${escapeHtml(answer.description)}${example}`;
  });
  return `<details>
<summary><code><b>${method}</b> ${escapeHtml(path)}</code> ${escapeHtml(docs.summary)}</summary>
${description}
<pre>${escapeHtml(curl(route, url))}</pre>
${queryTable(route)}
<table><tr><th>Status<th>Meaning${answers.join("")}</table>
</details>`;
}

/** A command that works as it is, once the topic is there. */
function curl(route: Route, url: string): string {
  const { method, docs } = route;
  const words = [
    "curl",
    ...(method === "GET" ? [] : ["-X", method]),
    `${url}${route.path.replace("{topic}", "orders")}`,
  ];
  if (docs.bodyExample !== undefined) {
    words.push("-H 'content-type: application/json'", `-d '${JSON.stringify(docs.bodyExample)}'`);
  }
  return words.join(" ");
}

function queryTable(route: Route): string {
  const { query } = route;
  if (query === undefined || !("properties" in query)) return "";
  const properties = query.properties as Readonly<Record<string, PropertyDocs>>; // an object schema's properties are schemas
  const rows = Object.entries(properties).map(([name, { description = "", enum: choices }]) => {
    const values = choices === undefined ? "" : ` <code>${escapeHtml(choices.join(" | "))}</code>`;
    return `<tr><td><code>${escapeHtml(name)}</code><td>${escapeHtml(description)}${values}`;
  });
  return `<table><tr><th>Parameter<th>Meaning${rows.join("")}</table>`;
}

interface PropertyDocs {
  readonly description?: string;
  readonly enum?: readonly string[];
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 small { font-size: 1rem; opacity: .6; }
details { border-top: 1px solid #8884; padding: .5rem 0; }
summary { cursor: pointer; }
pre { overflow: auto; padding: .6rem; background: #8881; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-top: 1px solid #8883; }
td pre { margin: .3rem 0; }
`;
