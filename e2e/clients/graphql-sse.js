// graphql-sse, distinct connections mode: each operation is a stream of its own.
import { sse as client } from './examples/graphql-sse.js'
import { scenario, texts } from './scenario.js'

const subscribe = (name, variables, { next, error, complete }) =>
  client.subscribe({ query: texts[name], variables }, {
    next: ({ data, errors }) => (errors ? error(errors) : next(data)), error, complete,
  })
const once = (name, variables) => new Promise((resolve, reject) =>
  subscribe(name, variables, { next: resolve, error: reject, complete() {} }))

await scenario({ query: once, mutate: once, subscribe })
client.dispose()
