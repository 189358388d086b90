import { useQuery, useReactiveVar } from '@apollo/client/react'
import { useEffect, useSyncExternalStore } from 'react'
import { Button } from 'react-aria-components'
import { ownerVar, signOut } from './account'
import { client } from './client'
import { ViewerDocument } from './generated/operations'
import { RequestFailed } from './Outcome'
import { PatientList } from './PatientList'
import { Panel } from './Panel'
import { Profile } from './Profile'
import { profilePath, usePatientID } from './route'
import { languageVar, tokenVar } from './session'
import { SignIn } from './SignIn'
import { useUnsettled } from './unsettled'
import { useWords } from './words'

function useOnline(): boolean {
  return useSyncExternalStore(changed => {
    addEventListener('online', changed)
    addEventListener('offline', changed)
    return () => { removeEventListener('online', changed); removeEventListener('offline', changed) }
  }, () => navigator.onLine)
}

export function App() {
  const t = useWords()
  const language = useReactiveVar(languageVar)
  const token = useReactiveVar(tokenVar)
  const online = useOnline()
  const owner = useReactiveVar(ownerVar)
  useEffect(() => { document.documentElement.lang = language }, [language])
  useEffect(() => { if (online && tokenVar()) void client.refetchObservableQueries() }, [online])
  return (
    <>
      <a className="skip" href="#main" onClick={event => { event.preventDefault(); document.getElementById('main')?.focus() }}>{t.skip}</a>
      <header className="bar">
        <p className="brand">{t.appName}</p>
        <div>
          <Button className="button quiet" onPress={() => languageVar(language === 'en' ? 'ko' : 'en')}>
            <span lang={language === 'en' ? 'ko' : 'en'}>{t.otherLanguage}</span>
          </Button>
          {token && <Button className="button quiet" onPress={signOut}>{t.signOut}</Button>}
        </div>
      </header>
      <div role="status">{!online && <p className="offline">{t.offline}</p>}</div>
      <main id="main" tabIndex={-1}>
        {!token && <SignIn />}
        {owner && <div hidden={!token}><Pages key={owner} /></div>}
      </main>
    </>
  )
}

function Pages() {
  const t = useWords()
  const id = usePatientID()
  const { data, error, refetch } = useQuery(ViewerDocument)
  const elsewhere = useUnsettled().filter(one => one.patientId !== id && one.operationId && !one.settled)
  if (!data) {
    return error ? <RequestFailed error={error} retry={() => void refetch().catch(() => {})} /> : <p role="status">{t.loading}</p>
  }
  const { viewer } = data
  return (
    <>
      {elsewhere.length > 0 && <Panel page tone="wait" title={t.unknownElsewhere}>
        <ul>{elsewhere.map(one => <li key={one.idempotencyKey}><a href={profilePath(one.patientId)}>{one.patientId}</a></li>)}</ul>
      </Panel>}
      {id ? <Profile key={id} id={id} viewer={viewer} /> : <PatientList names={viewer.role !== 'analyst'} />}
    </>
  )
}
