import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

const server = process.env.PATIENTGRAPH ?? 'http://127.0.0.1:8080'

export default defineConfig({
  base: './', // the page works below any path
  plugins: [react()],
  build: {
    outDir: '../../web/app', // committed, and embedded in the binary
    emptyOutDir: true,
    license: { fileName: 'LICENSES.md' }, // of what is built in
    chunkSizeWarningLimit: 700,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the page's policy takes no data: URLs
  },
  server: { proxy: { '/graphql': { target: server, ws: true } } },
})
