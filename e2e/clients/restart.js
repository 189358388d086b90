// Subscriptions of three clients, each as it comes, outlive the replica that served them.
import { setTimeout as pause } from 'node:timers/promises'
import { client as apollo } from './examples/apollo.js' // multipart
import { socket } from './examples/graphql-ws.js'
import { sse } from './examples/graphql-sse.js'
import { base, documents, own, texts } from './scenario.js'

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
for (const [name, client] of Object.entries({ 'graphql-ws': socket, 'graphql-sse': sse })) {
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
