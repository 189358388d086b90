import { useReactiveVar } from '@apollo/client/react'
import { useEffect } from 'react'
import { Button } from 'react-aria-components'
import { homeOf, ownerVar, signOut, type Viewer } from './account'
import { refetch } from './client'
import { useOnline } from './online'
import { PatientList } from './PatientList'
import { Panel } from './Panel'
import { Profile } from './Profile'
import { profilePath, usePage } from './route'
import { languageVar, tokenVar } from './session'
import { SignIn } from './SignIn'
import { useUnsettled } from './unsettled'
import { useWords } from './words'

export function App() {
  const t = useWords()
  const language = useReactiveVar(languageVar)
  const token = useReactiveVar(tokenVar)
  const online = useOnline()
  const owner = useReactiveVar(ownerVar)
  useEffect(() => { document.documentElement.lang = language }, [language])
  useEffect(() => { if (online && tokenVar()) refetch() }, [online])
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
        {owner && <div hidden={!token}><Pages key={owner.identity} viewer={owner.viewer} /></div>}
      </main>
    </>
  )
}

function Pages({ viewer }: { viewer: Viewer }) {
  const t = useWords()
  const page = usePage()
  const id = page.id ?? homeOf(viewer)
  const elsewhere = useUnsettled().filter(one => one.patientId !== id && one.operationId && !one.settled)
  return (
    <>
      {elsewhere.length > 0 && <Panel page tone="wait" title={t.unknownElsewhere}>
        <ul>{elsewhere.map(one => <li key={one.idempotencyKey}><a href={profilePath(one.patientId)}>{one.patientId}</a></li>)}</ul>
      </Panel>}
      {id ? <Profile key={id} id={id} viewer={viewer} /> : <PatientList key={page.visit} viewer={viewer} />}
    </>
  )
}
