import 'graphiql/setup-workers/vite'
// The parts of graphiql/style.css without its fonts, which are a sixth of all that the page loads.
import '@graphiql/react/style.css'
import '@graphiql/plugin-doc-explorer/style.css'
import '@graphiql/plugin-history/style.css'
import 'graphiql/graphiql.css'
import './page.css'
import { createRoot } from 'react-dom/client'
import { App } from './App'

createRoot(document.getElementById('page')!).render(<App />)
