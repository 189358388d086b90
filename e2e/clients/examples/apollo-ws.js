import { ApolloLink } from '@apollo/client'
import { GraphQLWsLink } from '@apollo/client/link/subscriptions'
import { OperationTypeNode } from 'graphql'
import { client } from './apollo.js'
import { socket } from './graphql-ws.js'

client.setLink(ApolloLink.split(
  ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION, new GraphQLWsLink(socket), client.link))
