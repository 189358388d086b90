import { BREAK, parse, visit } from 'graphql'

// What the schema says is null for the role analyst (type Patient).
const identifiers = ['familyName', 'givenName', 'fullName', 'birthDate', 'phone', 'email', 'address', 'emergencyContact']

/** asksIdentifiers reports whether a query selects a field that an analyst sees as null. */
export function asksIdentifiers(query: string): boolean {
  let found = false
  try {
    visit(parse(query), {
      Field({ name }) {
        if (!identifiers.includes(name.value)) return
        found = true
        return BREAK
      },
    })
  } catch {
    // There are no rows of it.
  }
  return found
}
