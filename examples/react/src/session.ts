import { makeVar } from '@apollo/client'

// The token lives in this variable alone: after a reload one signs in again.
export const tokenVar = makeVar<string | null>(null)

// expiredVar: the last sign-in was ended by the server, not by its owner.
export const expiredVar = makeVar(false)

// searchVar is what is searched for in the list, for the way back to it. It may name
// patients: so it is in memory alone, not in the address, which the browser keeps.
export const searchVar = makeVar('')

export type Language = 'en' | 'ko'
export const languageVar = makeVar<Language>(navigator.language.startsWith('ko') ? 'ko' : 'en')

// expire ends a sign-in that the server no longer takes. What was typed stays in the
// page, hidden, until the same person is back.
export function expire() {
  expiredVar(true)
  tokenVar(null)
}

// identityOf says whose token it is, to tell the same person from another. The server
// alone judges whether the token is any good.
export function identityOf(token: string): string {
  try {
    const payload = token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/')
    const bytes = Uint8Array.from(atob(payload), character => character.charCodeAt(0))
    const { iss, sub } = JSON.parse(new TextDecoder().decode(bytes))
    return sub ? JSON.stringify([iss, sub]) : token
  } catch {
    return token
  }
}
