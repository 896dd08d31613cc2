#!/usr/bin/env node
// Checks KQL files with Microsoft's own parser and binder against the workspace's tables and saved functions,
// and with a few rules of this repository. All files in one process: loading the parser takes seconds.
//
//   node tools/kql_lint.js --tables infra/log_analytics/tables.json --functions infra/queries/functions [--alert] FILES...
//
// Prints one line per finding, FILE:LINE:COLUMN: MESSAGE. Exit code 0: clean, 1: findings, 2: wrong usage.
// --alert adds what a log-search alert rule may not do.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const USAGE = 'usage: kql_lint.js --tables TABLES.JSON --functions FOLDER [--alert] FILES...';

// The local stand-in cannot run these (local/log_analytics/README.md); what runs in Azure has to run there too.
const NOT_RUN_LOCALLY = new Set([
  'make-series', 'mv-apply', 'top-nested', 'partition', 'scan', 'search', 'find', 'fork', 'facet', 'invoke',
  'externaldata', 'evaluate', 'sample', 'sample-distinct', 'reduce', 'as', 'workspace', 'app', 'resource', 'cluster',
  'database', 'ingestion_time', 'row_cumsum', 'row_window_session', 'row_rank_dense', 'row_rank_min', 'column_ifexists',
  'columnifexists', 'tdigest', 'tdigest_merge', 'percentile_tdigest', 'hll', 'hll_merge', 'dcount_hll',
]);

// Refused by the alerts platform, with or without the parser's blessing.
const NOT_IN_ALERTS = new Set(['bag_unpack', 'pivot', 'narrow', 'AggregatedValue']);

function loadKusto() {
  const base = path.dirname(require.resolve('@kusto/language-service-next/package.json'));
  require(path.join(base, 'bridge.min.js')); // defines the globals Bridge and System
  require(path.join(base, 'Kusto.Language.Bridge.min.js')); // defines the global Kusto
  return Kusto.Language;
}

function globalsOf(language, tables, functions) {
  const { TableSymbol, FunctionSymbol, DatabaseSymbol } = language.Symbols;
  const members = Object.entries(tables).map(([name, columns]) => {
    const declared = Object.entries(columns).map(([column, type]) => `['${column}']:${type}`);
    return TableSymbol.From(`(${declared.join(', ')})`).WithName(name);
  });
  for (const [name, body] of Object.entries(functions)) {
    members.push(new FunctionSymbol.$ctor16(name, '()', `{\n${body}\n}`, null));
  }
  // Not $ctor2: it loses the tables.
  return language.GlobalState.Default.WithDatabase(new DatabaseSymbol.ctor('workspace', members));
}

function* parserFindings(code) {
  const diagnostics = code.GetDiagnostics();
  for (let i = 0; i < diagnostics.Count; i++) {
    const diagnostic = diagnostics.getItem(i);
    if (diagnostic.Severity === 'Error') {
      yield { start: diagnostic.Start, message: `${diagnostic.Code}: ${diagnostic.Message}` };
    }
  }
}

function* ruleFindings(tokens, { tables, functions, isFunction, isAlert }) {
  for (let i = 0; i < tokens.length; i++) {
    const { text, start } = tokens[i];
    const called = tokens[i + 1]?.text === '(';
    const piped = i === 0 || ['|', '(', ';', '='].includes(tokens[i - 1].text);
    if (NOT_RUN_LOCALLY.has(text) && (called || piped)) {
      yield { start, message: `LOCAL: '${text}' does not run on the local stand-in` };
    }
    if (text.startsWith('series_') && called) {
      yield { start, message: `LOCAL: '${text}' does not run on the local stand-in` };
    }
    const saved = text.replace(/_CL$/, '');
    if (!isFunction && !isAlert && saved !== text && text in tables && saved in functions) {
      yield { start, message: `LOCAL: read ${saved}() instead of ${text}, which holds rows more than once` };
    }
    if (!isAlert) continue;
    if (NOT_IN_ALERTS.has(text)) yield { start, message: `ALERT: '${text}' is refused in alert rules` };
    if (text === 'ago' && called && !/^\d/.test(tokens[i + 2]?.text ?? '')) {
      yield { start, message: 'ALERT: ago() takes a literal in alert rules' };
    }
  }
}

function tokensOf(code) {
  const tokens = [];
  for (let token = code.Syntax.GetFirstToken(); token; token = token.GetNextToken()) {
    if (token.Text) tokens.push({ text: token.Text, start: token.TextStart });
  }
  return tokens;
}

function position(text, start) {
  const before = text.slice(0, start);
  return `${before.split('\n').length}:${start - before.lastIndexOf('\n')}`;
}

function readFunctions(folder) {
  const names = fs.readdirSync(folder).filter((name) => name.endsWith('.kql'));
  return Object.fromEntries(
    names.map((name) => [path.basename(name, '.kql'), fs.readFileSync(path.join(folder, name), 'utf8')]),
  );
}

function main() {
  let options;
  try {
    options = parseArgs({
      allowPositionals: true,
      options: { tables: { type: 'string' }, functions: { type: 'string' }, alert: { type: 'boolean' } },
    });
  } catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    return 2;
  }
  const { values, positionals: files } = options;
  if (!values.tables || !values.functions || files.length === 0) {
    console.error(USAGE);
    return 2;
  }
  const { tables } = JSON.parse(fs.readFileSync(values.tables, 'utf8'));
  const functions = readFunctions(values.functions);
  const language = loadKusto();
  const globals = globalsOf(language, tables, functions);
  const functionFolder = path.resolve(values.functions);

  let count = 0;
  for (const file of files) {
    const text = fs.readFileSync(file, 'utf8');
    const code = language.KustoCode.ParseAndAnalyze(text, globals);
    const isFunction = path.dirname(path.resolve(file)) === functionFolder;
    const context = { tables, functions, isFunction, isAlert: Boolean(values.alert) };
    for (const { start, message } of [...parserFindings(code), ...ruleFindings(tokensOf(code), context)]) {
      console.log(`${file}:${position(text, start)}: ${message}`);
      count += 1;
    }
  }
  console.log(`${files.length} files, ${count} findings`);
  return count ? 1 : 0;
}

process.exitCode = main();
