/**
 * `npm run docs`: writes docs/CONFIG.md and docs/ERRORS.md, and the tables in docs/BROKER.md, from the tables that the code
 * itself runs by. A test holds that they are what this would write.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build, isMain, root, runMain } from "./build.mjs";

const distOf = (path) => import(`../packages/${path}`);

/** Returns the pages by path. Reads what is compiled: build first. */
export async function renderDocs() {
  return {
    "docs/CONFIG.md": await renderConfig(),
    "docs/ERRORS.md": await renderErrors(),
    "docs/BROKER.md": await renderBroker(),
  };
}

/** A page that people write, with tables in it that they do not. */
async function renderBroker() {
  const { handlers } = await distOf("broker/dist/handlers/index.js");
  const { brokerOptions } = await distOf("broker/dist/options.js");
  const { topicSettings } = await distOf("broker/dist/topics/topic-settings.js");
  const rows = handlers.map(({ apiKey, name, versions: { min, max } }) => [
    apiKey,
    name,
    min === max ? min : `${min}–${max}`,
  ]);
  const tables = {
    apis: markdownTable(["Key", "API", "Versions"], rows),
    "topic settings": topicTable(topicSettings, brokerOptions.resolve({})),
  };
  let page = readFileSync(join(root, "docs/BROKER.md"), "utf8");
  for (const [name, table] of Object.entries(tables)) {
    page = page.replace(
      new RegExp(`(<!-- ${name}: [^\n]*-->\n).*(<!-- /${name} -->)`, "s"),
      (_, start, end) => `${start}\n${table}\n\n${end}`,
    );
  }
  return page;
}

async function renderConfig() {
  const { producerOptions } = await distOf("client/dist/producer/options.js");
  const { commonOptions } = await distOf("client/dist/common-options.js");
  const { adminOptions } = await distOf("client/dist/admin.js");
  const { readerOptions } = await distOf("client/dist/reader.js");
  const { brokerOptions } = await distOf("broker/dist/options.js");
  const { topicSettings } = await distOf("broker/dist/topics/topic-settings.js");
  const { gatewayOptions } = await distOf("gateway/dist/options.js");
  const { environmentName, flagName } = await distOf("base/dist/index.js");
  const own = (table) => without(table.entries, Object.keys(commonOptions.entries));
  const commands = await loadCommands();

  return `# Configuration

<!-- Written by \`npm run docs\` from the option tables in the code; a change here is lost. -->

In code, options are given by name to \`new Producer({ … })\`, \`new Admin({ … })\`, \`new Reader({ … })\`, \`Broker.open({ … })\`
and \`Gateway.open({ … })\`. An unknown name or a wrong value is an error that names the option and the rule; nothing is
ignored.

The \`millrace\` command takes them as flags, as environment variables, and as keys of the JSON file that \`--config\` names
(in camelCase, as in code). A flag goes before a variable, a variable before the file, the file before the default. Only the
command reads the environment; the library never does. Sizes may be written \`512k\`, \`16MiB\`, \`1GiB\` there.

| | |
|---|---|
| [Producer, Admin and Reader](#producer-admin-and-reader) | what every client takes |
| [Producer](#producer) · [Admin](#admin) · [Reader](#reader) | what each takes beside |
| [Broker](#broker) · [HTTP](#http) | what \`millrace serve\` takes too |
| [Topics](#topics) | what can be set on a topic |
${commands.map(({ spec }) => `| [millrace ${spec.name}](#millrace-${spec.name.replaceAll(" ", "-")}) | ${spec.summary} |`).join("\n")}

## Producer, Admin and Reader

${optionTable(commonOptions.entries)}

## Producer

${optionTable(own(producerOptions))}

## Admin

${optionTable(own(adminOptions))}

## Reader

${optionTable(own(readerOptions))}

## Broker

\`Broker.open\` takes these; \`millrace serve\` takes them too, as \`${flagName("segmentBytes")}\` or
\`${environmentName("segmentBytes")}\`, but for the address, which is \`--kafka\` and \`--advertise\` there.

${optionTable(brokerOptions.entries)}

## HTTP

\`Gateway.open\` takes these; \`millrace serve\` takes them too, but for the address, which is \`--http\` there, and the brokers,
which are its own unless \`--brokers\` names others.

${optionTable(gatewayOptions.entries)}

## Topics

Given when a topic is created, or altered later: over the Kafka protocol, by \`millrace topics create --set name=value\`, or as
\`config\` of \`POST /api/topics\`. Kafka's other topic settings are accepted and kept, without effect on a single broker.

${topicTable(topicSettings, brokerOptions.resolve({}))}

${commands.map(({ spec }) => commandSection(spec, flagName)).join("\n\n")}
`;
}

/** Every command, in the order of \`millrace --help\`. */
async function loadCommands() {
  const { commands } = (await distOf("millrace/dist/main.js")).millrace;
  const loaded = [];
  for (const entry of Object.values(commands)) {
    const command = await entry.load();
    if (command.kind === "command") loaded.push(command);
    else for (const part of Object.values(command.commands)) loaded.push(await part.load());
  }
  return loaded;
}

function optionTable(entries) {
  const rows = Object.entries(entries).map(([name, entry]) => {
    const aliases = (entry.aliases ?? []).map((alias) => `\`${alias}\``);
    const shownName = [`\`${name}\``, ...(aliases.length === 0 ? [] : [`(or ${aliases.join(", ")})`])].join(" ");
    return [shownName, entry.kafka === undefined ? "" : `\`${entry.kafka}\``, ...facts(entry)];
  });
  return rows.length === 0 ? "Nothing beside." : markdownTable(["Option", "Kafka", "Type", "Default", "Meaning"], rows);
}

function topicTable(settings, brokerDefaults) {
  const rows = Object.entries(settings)
    .filter(([, { doc }]) => !doc.startsWith("Kept, "))
    .map(([name, { type, doc, defaultOf }]) => [`\`${name}\``, type, `\`${defaultOf(brokerDefaults)}\``, cell(doc)]);
  return markdownTable(["Setting", "Type", "Default", "Meaning"], rows);
}

function commandSection(spec, flagName) {
  const elsewhere = (spec.sections ?? []).filter((section) => section.title !== "Connection");
  const shownElsewhere = new Set(elsewhere.flatMap((section) => section.options));
  const rows = Object.entries(spec.options.entries)
    .filter(([name, entry]) => entry.isCodeOnly !== true && !shownElsewhere.has(name))
    .map(([name, entry]) => [`\`${flagName(name)}\``, `\`${spec.variableOf(name)}\``, ...facts(entry)]);
  const more = elsewhere.map((section) => `[${section.title}](#${section.title.toLowerCase()})`);
  return [
    `## millrace ${spec.name}`,
    `\`${spec.examples[0].command}\`: ${spec.examples[0].meaning}.`,
    markdownTable(["Flag", "Variable", "Type", "Default", "Meaning"], rows),
    ...(more.length === 0 ? [] : [`And what stands under ${more.join(" and ")}.`]),
  ].join("\n\n");
}

function facts(entry) {
  return [cell(entry.typeName), defaultOf(entry), cell(entry.doc)];
}

function defaultOf({ default: value, typeName, isCodeOnly, check }) {
  if (isCodeOnly === true || value === null || value === "" || (Array.isArray(value) && value.length === 0)) return "";
  const choices = typeName.split(" | ");
  // "all" where it is checked into -1.
  if (choices.length > 1 && typeof value === "number") return `\`${choices.find((text) => check(text) === value)}\``;
  if (typeof value === "number") return `${value}${humanNumber(value, typeName)}`;
  return `\`${cell(Array.isArray(value) ? value.join(",") : JSON.stringify(value).replace(/^"(.*)"$/, "$1"))}\``;
}

/** " (16 KiB)", " (5 min)", or nothing where the number is plain enough. */
function humanNumber(value, typeName) {
  const units = { bytes: BYTE_UNITS, milliseconds: MS_UNITS }[typeName] ?? [];
  const unit = units.find(([size]) => value >= size && value % size === 0);
  return unit === undefined ? "" : ` (${value / unit[0]} ${unit[1]})`;
}

const BYTE_UNITS = [
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [2 ** 10, "KiB"],
];
const MS_UNITS = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1_000, "s"],
];

async function renderErrors() {
  const { errorEntries } = await distOf("protocol/dist/error-codes.js");
  const { requestErrors } = await distOf("gateway/dist/errors.js");
  const isKafkas = ({ number, code }) => number >= 0 || code === "UNKNOWN_SERVER_ERROR";
  const rowsOf = (entries) =>
    entries.map(({ code, number, retriable, httpStatus, advice }) => [
      `\`${code}\``,
      String(number),
      retriable ? "yes" : "no",
      String(httpStatus),
      cell(advice),
    ]);
  const heads = ["Code", "Number", "Retriable", "HTTP", "What to do"];

  return `# Errors

<!-- Written by \`npm run docs\` from the error tables in the code; a change here is lost. -->

Everything that Millrace rejects with is a \`KafkaError\`: \`code\` is one of the names below and stays what it is, \`retriable\`
tells whether the same may work later, unchanged, and \`persisted\` whether the record is surely not in the log (\`"no"\`) or
may be there (\`"maybe"\`). Over HTTP the code stands in the body, and the status is the one given here.

The producer retries what is retriable by itself until \`deliveryTimeoutMs\`: what reaches you has been tried.

## Millrace's own

These never travel in the Kafka protocol.

${markdownTable(
  heads.toSpliced(1, 1),
  rowsOf(errorEntries.filter((entry) => !isKafkas(entry))).map((row) => row.toSpliced(1, 1)),
)}

## Over HTTP only

The request as a whole was refused, and nothing of it was done.

${markdownTable(
  heads.toSpliced(1, 1),
  rowsOf(Object.entries(requestErrors).map(([code, row]) => ({ code, ...row }))).map((row) => row.toSpliced(1, 1)),
)}

## Kafka's

${markdownTable(heads, rowsOf(errorEntries.filter(isKafkas)))}
`;
}

function without(entries, names) {
  return Object.fromEntries(Object.entries(entries).filter(([name]) => !names.includes(name)));
}

function markdownTable(heads, rows) {
  return [heads, heads.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function cell(text) {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

if (isMain(import.meta.url)) {
  await runMain(async () => {
    build("packages/millrace");
    for (const [path, text] of Object.entries(await renderDocs())) writeFileSync(join(root, path), text);
  });
}
