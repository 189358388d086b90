import { CombinedGraphQLErrors, type ErrorLike } from '@apollo/client'

function extensionsOf(error?: ErrorLike): Record<string, unknown> {
  return (CombinedGraphQLErrors.is(error) && error.errors[0]?.extensions) || {}
}

// codeOf is extensions.code of an error of the request itself; undefined: no answer came.
export function codeOf(error?: ErrorLike): string | undefined {
  return extensionsOf(error).code as string | undefined
}

export function retryAfter(error?: ErrorLike): number | undefined {
  return extensionsOf(error).retryAfterSeconds as number | undefined
}

// mayHaveBegun: the mutation that ended with this error may have changed something. The
// request has left and no answer came, or the answer says so itself.
export function mayHaveBegun(error: ErrorLike): boolean {
  const code = codeOf(error)
  return code === undefined || code === 'UNAVAILABLE' || code === 'INTERNAL'
}
