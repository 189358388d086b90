// What docs/clients.md leaves to who pastes its examples: the server and the token.
import WebSocket from 'ws'

globalThis.WebSocket ??= WebSocket // as browsers have it, and Node since 22

export const base = process.env.SERVER
export async function headers() {
  return { Authorization: `Bearer ${process.env.TOKEN}` }
}
