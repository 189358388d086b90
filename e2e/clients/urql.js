// urql: subscriptions over graphql-ws, then over fetch (SSE or multipart, as the server likes).
import { onEnd, pipe, subscribe as onResult } from 'wonka'
import { socket } from './examples/graphql-ws.js'
import { client } from './examples/urql.js'
import { client as clientWithSocket } from './examples/urql-ws.js'
import { documents, scenario } from './scenario.js'

async function run(client) {
  const data = async result => {
    const { data, error } = await result.toPromise()
    if (error) throw error
    return data
  }
  await scenario({
    query: (name, variables) => data(client.query(documents[name], variables)),
    mutate: (name, variables) => data(client.mutation(documents[name], variables)),
    subscribe(name, variables, observer) {
      const { unsubscribe } = pipe(
        client.subscription(documents[name], variables),
        onEnd(observer.complete),
        onResult(({ data, error, hasNext }) => {
          if (error) observer.error(error)
          else if (hasNext) observer.next(data) // at the end urql tells the last one once more
        }),
      )
      return unsubscribe
    },
  })
}

await run(clientWithSocket)
await socket.dispose()
await run(client)
