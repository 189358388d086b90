import { useState } from 'react'
import { Button, Radio, RadioGroup } from 'react-aria-components'
import { type Change, textOf, type Unit } from './fields'
import type { ProfileFragment } from './generated/operations'
import { Panel } from './Panel'
import { useUnsaved } from './unsaved'
import { useWords } from './words'

interface Props {
  base: ProfileFragment
  current: ProfileFragment
  change: Change
  conflicting: string[]
  sending: boolean
  onResolve(change: Change): void // of what is to be saved on top of current
  onCancel(): void
}

// ConflictChoice shows what was, what somebody else made of it, and what was typed, side
// by side. Fields that nobody else has changed stay as they were typed.
export function ConflictChoice({ base, current, change, conflicting, sending, onResolve, onCancel }: Props) {
  const t = useWords()
  const units = (Object.keys(change) as Unit[]).filter(unit => conflicting.includes(unit))
  const [mine, setMine] = useState<Unit[]>([])
  useUnsaved(() => true)

  function resolve() {
    const chosen = Object.entries(change).filter(([unit]) => !conflicting.includes(unit) || mine.includes(unit as Unit))
    onResolve(Object.fromEntries(chosen))
  }
  const shown = (text: string, empty: string) => text || <em>{empty}</em>
  return (
    <div className="conflict">
      <Panel tone="bad" title={t.conflict} focus><p>{t.conflictText}</p></Panel>
      {units.map(unit => (
        <div key={unit}>
          <h4>{t.fields[unit]}</h4>
          <dl className="three">
            <div><dt>{t.conflictBase}</dt><dd>{shown(textOf(unit, base), t.none)}</dd></div>
            <div className="theirs"><dt>{t.conflictTheirs}</dt><dd>{shown(textOf(unit, current), t.removed)}</dd></div>
            <div className="mine"><dt>{t.conflictMine}</dt><dd>{shown(textOf(unit, change), t.removed)}</dd></div>
          </dl>
          <RadioGroup className="choice" aria-label={t.fields[unit]} orientation="horizontal" value={mine.includes(unit) ? 'mine' : 'theirs'}
            onChange={choice => setMine(choice === 'mine' ? [...mine, unit] : mine.filter(other => other !== unit))}>
            <Radio value="theirs" className="radio">{t.keepTheirs}</Radio>
            <Radio value="mine" className="radio">{t.takeMine}</Radio>
          </RadioGroup>
        </div>
      ))}
      <div className="actions">
        <Button className="button primary" onPress={resolve} isDisabled={sending}>{t.conflictSave}</Button>
        <Button className="button" onPress={onCancel}>{t.cancel}</Button>
      </div>
    </div>
  )
}
