import type { SyncState } from './generated/operations'
import { useWords } from './words'

export function SyncMark({ state }: { state: SyncState }) {
  const t = useWords()
  return <span className={`mark ${state.toLowerCase()}`}>{t.sync[state]![0]}</span>
}
