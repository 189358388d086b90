import { ApolloClient, ApolloLink, InMemoryCache } from '@apollo/client'
import { OperationTypeNode } from 'graphql'
import { documents, scenario } from './scenario.js'

/** Runs the scenario with Apollo Client 4 over these links, and returns the client. */
export async function runApollo(link, subscriptions, possibleTypes) {
  const client = new ApolloClient({
    link: ApolloLink.split(({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION, subscriptions, link),
    cache: new InMemoryCache({ possibleTypes }),
    clientAwareness: { name: 'patientgraph-e2e', version: '1' },
  })
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
  return client
}
