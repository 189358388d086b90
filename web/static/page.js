'use strict';

const config = JSON.parse(document.getElementById('config').textContent);

// What is typed here may be patient data, and what is in the headers is a
// token: nothing of it stays in the browser after the page is closed.
const memory = new Map();
const storage = {
  getItem: (key) => memory.get(key) ?? null,
  setItem: (key, value) => void memory.set(key, value),
  removeItem: (key) => void memory.delete(key),
  clear: () => memory.clear(),
  get length() { return memory.size; },
};

function isSubscription(documentAST, operationName) {
  return (documentAST?.definitions ?? []).some((definition) =>
    definition.operation === 'subscription' &&
    (!operationName || definition.name?.value === operationName));
}

function post(params, headers, accept, signal) {
  return fetch(config.endpoint, {
    method: 'POST',
    credentials: 'same-origin',
    headers: { ...headers, 'Content-Type': 'application/json', Accept: accept },
    body: JSON.stringify(params),
    signal,
  });
}

async function readResult(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`The server answered ${response.status} ${response.statusText}: ${text.slice(0, 500)}`);
  }
}

// readEvents yields the results of a GraphQL-over-SSE response (distinct
// connections mode): "next" events with JSON data, then "complete".
async function* readEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (buffer + value).split(/\r?\n\r?\n/);
    buffer = blocks.pop();
    for (const block of blocks) {
      const lines = block.split(/\r?\n/);
      if (lines.includes('event: complete')) return;
      const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(5)).join('\n');
      if (data.trim()) yield JSON.parse(data);
    }
  }
}

// subscribe returns an async iterator. Stopping it must end the request at
// once: an async generator's own return() would wait for the next event.
function subscribe(params, headers) {
  const controller = new AbortController();
  const results = (async function* () {
    const response = await post(params, headers, 'text/event-stream', controller.signal);
    if (response.headers.get('Content-Type')?.startsWith('text/event-stream')) {
      yield* readEvents(response);
    } else {
      yield await readResult(response);
    }
  })();
  return {
    [Symbol.asyncIterator]() { return this; },
    async next() {
      try {
        return await results.next();
      } catch (error) {
        if (controller.signal.aborted) return { value: undefined, done: true };
        throw error;
      }
    },
    async return() {
      controller.abort();
      return { value: undefined, done: true };
    },
  };
}

async function fetcher(params, options = {}) {
  const headers = options.headers ?? {};
  if (isSubscription(options.documentAST, params.operationName)) return subscribe(params, headers);
  return readResult(await post(params, headers, 'application/graphql-response+json, application/json'));
}

// GraphiQL fills the editors of the first tab from the properties of the page,
// not from the tab.
const headers = JSON.stringify(config.headers, null, 2);
const tabs = config.tabs.map((tab) => ({ ...tab, headers }));
const { createElement } = React;

ReactDOM.createRoot(document.getElementById('graphiql')).render(
  createElement(GraphiQL, {
    fetcher,
    storage,
    defaultTabs: tabs,
    defaultHeaders: headers,
    variables: tabs[0].variables,
    shouldPersistHeaders: false,
    isHeadersEditorEnabled: true,
    defaultEditorToolsVisibility: tabs[0].variables ? 'variables' : 'headers',
    visiblePlugin: 'Documentation Explorer',
  }, createElement(GraphiQL.Logo, null, 'PatientGraph')),
);
