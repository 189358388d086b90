import { makeVar } from '@apollo/client'
import { client, socket } from './client'
import { listPath } from './route'
import { identityOf, refusedVar, tokenVar } from './session'
import { forgetAll } from './unsettled'

// ownerVar is whose pages are open. They stay, hidden, when the sign-in runs out, and go
// when somebody else signs in.
export const ownerVar = makeVar<string | null>(null)

export function signIn(token: string) {
  const identity = identityOf(token)
  if (ownerVar() && ownerVar() !== identity) leave()
  refusedVar(false)
  tokenVar(token)
  ownerVar(identity)
  void client.refetchObservableQueries() // of pages that were open before
}

export function signOut() {
  leave()
  refusedVar(false)
  tokenVar(null)
  ownerVar(null)
}

// leave takes along what one person has seen before the next may look.
function leave() {
  forgetAll()
  location.replace(listPath)
  void client.clearStore()
  socket.terminate() // it speaks for the token that it began with
}
