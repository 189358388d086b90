// urql: subscriptions over graphql-ws, then over fetch (SSE or multipart, as the server likes).
import { cacheExchange, Client, fetchExchange, subscriptionExchange } from '@urql/core'
import { retryExchange } from '@urql/exchange-retry'
import { createClient } from 'graphql-ws'
import { onEnd, pipe, subscribe as onResult } from 'wonka'
import { documents, headers, scenario, url, websocketURL } from './scenario.js'

const retry = retryExchange({ initialDelayMs: 100, retryIf: error => Boolean(error.networkError) })

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

const ws = createClient({ url: websocketURL, connectionParams: headers })
await run(new Client({
  url,
  fetchOptions: { headers },
  exchanges: [cacheExchange, retry, fetchExchange, subscriptionExchange({
    forwardSubscription: ({ query = '', variables }) => ({
      subscribe: sink => ({ unsubscribe: ws.subscribe({ query, variables }, sink) }),
    }),
  })],
}))
await ws.dispose()

await run(new Client({
  url, fetchOptions: { headers }, fetchSubscriptions: true, exchanges: [cacheExchange, retry, fetchExchange],
}))
