// Runs in the page under test, before everything else: presses "execute" once
// the page is ready, and writes what it observed into #observed, which the test
// finds in the DOM that the browser prints.
'use strict';
const problems = [];
const consoleError = console.error;
console.error = (...args) => { problems.push(`console: ${args.join(' ')}`); consoleError(...args); };
addEventListener('error', (event) => problems.push(`error: ${event.message ?? event.target?.src}`), true);
addEventListener('unhandledrejection', (event) => problems.push(`rejection: ${event.reason}`));
document.addEventListener('securitypolicyviolation', (event) =>
  problems.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));

const waitFor = (find) => new Promise((resolve) => {
  const look = () => { const found = find(); if (found) resolve(found); else setTimeout(look, 20); };
  look();
});

const editor = (selector) => document.querySelector(`${selector} .CodeMirror`)?.CodeMirror;

addEventListener('load', async () => {
  await waitFor(() => document.querySelector('.graphiql-doc-explorer-content a'));
  const docs = document.querySelector('.graphiql-doc-explorer-content').textContent;
  (await waitFor(() => document.querySelector('.graphiql-execute-button'))).click();
  await waitFor(() => editor('.result-window')?.getValue().includes('LAST'));
  const observed = document.createElement('script');
  observed.type = 'application/json';
  observed.id = 'observed';
  observed.textContent = JSON.stringify({
    problems,
    docs,
    query: editor('.graphiql-query-editor').getValue(),
    variables: editor('.graphiql-editor-tool .graphiql-editor:nth-child(1)').getValue(),
    headers: editor('.graphiql-editor-tool .graphiql-editor:nth-child(2)').getValue(),
    result: editor('.result-window').getValue(),
    tabs: [...document.querySelectorAll('.graphiql-tab')].map((tab) => tab.textContent),
    stored: localStorage.length + sessionStorage.length,
    resources: performance.getEntriesByType('resource').map((entry) => entry.name),
  });
  document.body.append(observed);
});
