import { defineConfig } from 'vite'

export default defineConfig({
  build: {
    outDir: '../static',
    emptyOutDir: true,
    assetsDir: '',
    license: { fileName: 'licenses.txt' },
    chunkSizeWarningLimit: 4000, // the editor is what it is
    rolldownOptions: {
      // Apart from what is ours, so that browsers keep it, and git too, when ours changes.
      output: { codeSplitting: { groups: [{ name: 'packages', test: /node_modules\/(?!monaco-|prettier)/ }] } },
      onLog: (level, log, tell) => log.code !== 'MODULE_LEVEL_DIRECTIVE' && tell(level, log), // 'use client': there is no other
    },
  },
  experimental: {
    // index.html is a template of the server, which alone knows where all paths begin.
    renderBuiltUrl: (file, { hostType }) => (hostType === 'html' ? `{{.BasePath}}/static/${file}` : { relative: true }),
  },
})
