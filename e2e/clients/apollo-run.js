import { documents, scenario } from './scenario.js'

/** Runs the scenario with an Apollo Client 4. */
export async function runApollo(client) {
  const data = async result => (await result).data
  await scenario({
    query: (name, variables) => data(client.query({ query: documents[name], variables })),
    mutate: (name, variables) => data(client.mutate({ mutation: documents[name], variables })),
    subscribe(name, variables, { next, error, complete }) {
      const subscription = client.subscribe({ query: documents[name], variables }).subscribe({
        next: result => (result.error ? error(result.error) : next(result.data)), error, complete,
      })
      return () => subscription.unsubscribe()
    },
  })
}
