import { makeVar } from '@apollo/client'
import { client, refetch, socket } from './client'
import { ViewerDocument, type ViewerQuery } from './generated/operations'
import { listPath } from './route'
import { expiredVar, identityOf, searchVar, tokenVar } from './session'
import { abandon, mayLeave } from './unsaved'
import { forgetAll } from './unsettled'

export type Viewer = ViewerQuery['viewer']

// homeOf is the record of who has no other: there is no list then.
export const homeOf = ({ role, patientId }: Viewer) => role === 'patient' ? patientId ?? null : null

// ownerVar is whose pages are open. They stay, hidden, when the sign-in runs out, and go
// when somebody else signs in.
export const ownerVar = makeVar<{ identity: string, viewer: Viewer } | null>(null)

// signIn asks the server whose token it is, and throws if it says nothing. Until then
// everything stays as it is.
export async function signIn(token: string) {
  const { data } = await client.query({
    query: ViewerDocument, fetchPolicy: 'no-cache', context: { headers: { Authorization: `Bearer ${token}` } },
  })
  const identity = identityOf(token)
  if (ownerVar() && ownerVar()!.identity !== identity) {
    if (!mayLeave('leaveToOther')) return
    await leave()
  }
  expiredVar(false)
  tokenVar(token)
  ownerVar({ identity, viewer: data!.viewer })
  refetch() // of pages that were open before
}

export function signOut() {
  if (!mayLeave()) return
  void leave()
  expiredVar(false)
  tokenVar(null)
}

// leave takes along what one person has seen before the next may look, or asks anything.
async function leave() {
  abandon()
  forgetAll()
  searchVar('')
  location.replace(listPath)
  ownerVar(null)
  socket.terminate() // it speaks for the token that it began with
  await client.clearStore()
}
