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
// by side. Fields that nobody else has changed stay as they were typed, and are listed.
export function ConflictChoice({ base, current, change, conflicting, sending, onResolve, onCancel }: Props) {
  const t = useWords()
  const units = (Object.keys(change) as Unit[]).filter(unit => conflicting.includes(unit))
  const others = (Object.keys(change) as Unit[]).filter(unit => !conflicting.includes(unit))
  const [chosen, setChosen] = useState<Partial<Record<Unit, string>>>({})
  const open = units.some(unit => !chosen[unit])
  useUnsaved(() => true)

  function resolve() {
    onResolve(Object.fromEntries(Object.entries(change).filter(([unit]) => chosen[unit as Unit] !== 'theirs')))
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
          <RadioGroup className="choice" aria-label={t.fields[unit]} orientation="horizontal" value={chosen[unit] ?? null}
            onChange={choice => setChosen({ ...chosen, [unit]: choice })}>
            <Radio value="theirs" className="radio">{t.keepTheirs}</Radio>
            <Radio value="mine" className="radio">{t.takeMine}</Radio>
          </RadioGroup>
        </div>
      ))}
      {others.length > 0 && <>
        <p>{t.conflictOthers}</p>
        <ul>{others.map(unit => <li key={unit}>{t.fields[unit]}: {textOf(unit, change) || t.removed}</li>)}</ul>
      </>}
      <p role="status" className="help">{open ? t.conflictOpen : ''}</p>
      <div className="actions">
        <Button className="button primary" onPress={resolve} isDisabled={sending || open}>{t.conflictSave}</Button>
        <Button className="button" onPress={onCancel}>{t.cancel}</Button>
      </div>
    </div>
  )
}
