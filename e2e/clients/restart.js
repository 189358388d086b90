// Subscriptions of three clients, each as it comes, outlive the replica that served them.
import { setTimeout as pause } from 'node:timers/promises'
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from '@apollo/client'
import { RetryLink } from '@apollo/client/link/retry'
import { createClient as createSSE } from 'graphql-sse'
import { createClient as createWS } from 'graphql-ws'
import { base, documents, headers, own, texts, url, websocketURL } from './scenario.js'

const apollo = new ApolloClient({
  link: ApolloLink.from([new RetryLink(), new HttpLink({ uri: url, headers })]), // multipart
  cache: new InMemoryCache(),
})
const ws = createWS({ url: websocketURL, connectionParams: headers })
const sse = createSSE({ url, headers })

const heard = new Set()
const observer = name => ({
  next({ data, error, errors }) {
    if (error ?? errors) throw new Error(`${name}: ${error ?? JSON.stringify(errors)}`)
    heard.add(name)
  },
  error(error) { throw new Error(`${name}: ${error.reason ?? error}`) },
  complete() { throw new Error(`${name}: it ended`) },
})
const variables = { id: own }
apollo.subscribe({ query: documents.PatientChanged, variables }).subscribe(observer('Apollo'))
for (const [name, client] of Object.entries({ 'graphql-ws': ws, 'graphql-sse': sse })) {
  client.subscribe({ query: texts.PatientChanged, variables }, observer(name))
}

let n = 1000
async function changeUntilAllHear() {
  heard.clear()
  while (heard.size < 3) {
    const input = { patientId: own, phone: `010-4000-${n++}` }
    await apollo.mutate({ mutation: documents.UpdateContact, variables: { input } })
    await pause(500)
  }
}
await changeUntilAllHear()
await fetch(`${base}/replace`) // the test's own
await changeUntilAllHear()
process.exit() // all three listen on
