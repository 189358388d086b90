// Runs in the page under test, before everything else: presses "execute" once
// the page is ready, waits for the result, presses "stop" if the operation still
// runs, and reports to the test what it saw.
'use strict';
const problems = [];
const consoleError = console.error;
console.error = (...args) => { problems.push(`console: ${args.join(' ')}`); consoleError(...args); };
addEventListener('error', (event) => problems.push(`error: ${event.message ?? event.target?.src}`), true);
addEventListener('unhandledrejection', (event) => problems.push(`rejection: ${event.reason}`));
document.addEventListener('securitypolicyviolation', (event) =>
  problems.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));

// waitFor gives up after a while, so that the report shows how far it came.
async function waitFor(what, find) {
  for (const start = Date.now(); Date.now() - start < 30000;) {
    const found = find();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  problems.push(`not there: ${what}`);
  return null;
}

const editor = (selector) => document.querySelector(`${selector} .CodeMirror`)?.CodeMirror;
const text = (selector) => editor(selector)?.getValue() ?? '';

addEventListener('load', async () => {
  const docs = await waitFor('documentation', () => document.querySelector('.graphiql-doc-explorer-content a'));
  (await waitFor('execute button', () => document.querySelector('.graphiql-execute-button')))?.click();
  await waitFor('result', () => text('.result-window').includes('LAST'));
  document.querySelector('.graphiql-execute-button[aria-label^="Stop"]')?.click();
  await fetch('/observed', {
    method: 'POST',
    body: JSON.stringify({
      problems,
      docs: docs?.parentElement.textContent ?? '',
      query: text('.graphiql-query-editor'),
      variables: text('.graphiql-editor-tool .graphiql-editor:nth-child(1)'),
      headers: text('.graphiql-editor-tool .graphiql-editor:nth-child(2)'),
      result: text('.result-window'),
      tabs: [...document.querySelectorAll('.graphiql-tab')].map((tab) => tab.textContent),
      stored: localStorage.length + sessionStorage.length,
      resources: performance.getEntriesByType('resource').map((entry) => entry.name),
    }),
  });
});
