import { useQuery, useReactiveVar } from '@apollo/client/react'
import { useEffect, useRef, useState } from 'react'
import { Button, Input, Label, SearchField, Text } from 'react-aria-components'
import type { Viewer } from './account'
import { type PatientFilter, PatientsDocument } from './generated/operations'
import { RequestFailed } from './Outcome'
import { PageTitle } from './PageTitle'
import { profilePath } from './route'
import { searchVar } from './session'
import { SyncMark } from './SyncMark'
import { useWords } from './words'

// filterOf guesses what is searched for by its look.
function filterOf(text: string): PatientFilter | undefined {
  if (!text) return undefined
  if (/^[+\d][\d\s().-]{5,}$/.test(text)) return { phone: text }
  return /\d/.test(text) ? { identifier: text } : { name: text }
}

const pause = 150 // ms without a key before it is searched

export function PatientList({ viewer }: { viewer: Viewer }) {
  const t = useWords()
  const names = viewer.role !== 'analyst'
  const typed = useReactiveVar(searchVar)
  const [searched, setSearched] = useState(typed.trim())
  useEffect(() => {
    const timer = setTimeout(() => setSearched(typed.trim()), pause)
    return () => clearTimeout(timer)
  }, [typed])
  const { data: now, previousData, error, loading, fetchMore, refetch } = useQuery(PatientsDocument, {
    variables: { filter: filterOf(searched), orderBy: names ? 'NAME_ASC' : undefined },
    fetchPolicy: 'cache-and-network',
  })
  const data = now ?? (loading ? previousData : undefined)
  const list = useRef<HTMLUListElement>(null)
  const [focusRow, setFocusRow] = useState(-1)
  useEffect(() => {
    if (focusRow < 0) return
    list.current?.querySelectorAll('a')[focusRow]?.focus()
    setFocusRow(-1)
  }, [focusRow])

  async function loadMore() {
    const shown = data!.patients.edges.length
    await fetchMore({ variables: { after: data!.patients.pageInfo.endCursor } }).catch(() => {}) // the query shows its error
    setFocusRow(shown)
  }
  const connection = data?.patients
  return (
    <>
      <PageTitle title={t.listTitle(viewer.role)} />
      {!names && <p>{t.nameHidden}</p>}
      {names && <SearchField className="field search" value={typed} onChange={searchVar}>
        <Label>{t.search}</Label>
        <div className="group">
          <Input />
          {typed && <Button aria-label={t.clearSearch} className="clear">×</Button>}
        </div>
        <Text slot="description">{t.searchHelp}</Text>
      </SearchField>}
      {error && <RequestFailed error={error} retry={() => void refetch().catch(() => {})} />}
      <p role="status" className="count">
        {!connection ? loading && t.loading
          : connection.totalCount > 0 ? `${t.found(connection.totalCount)}. ${t.shown(connection.edges.length, connection.totalCount)}`
          : searched ? t.noPatients : t.noPatientsYet}
      </p>
      <ul className="patients" ref={list} aria-busy={loading}>
        {connection?.edges.map(({ node }) => (
          <li key={node.id}>
            <a href={profilePath(node.id)}>
              <span className="name">{node.fullName ?? node.id}</span>
              <span className="facts">{[node.fullName && node.id, node.birthDate ?? node.birthYear, t.genders[node.gender], node.deceased && t.deceased].filter(Boolean).join(' · ')}</span>
            </a>
            {node.syncState !== 'SYNCED' && <SyncMark state={node.syncState} />}
          </li>
        ))}
      </ul>
      {connection?.pageInfo.hasNextPage && <Button className="button" onPress={() => void loadMore()} isDisabled={loading}>{t.loadMore}</Button>}
    </>
  )
}
