// How long the first load of the page takes with an empty cache: until one can sign in, and
// from there until the list of patients is shown. The last line is the answer.
import { chromium } from 'playwright-core'

const { CHROMIUM, DEMO } = process.env
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--headless', '--no-sandbox', '--disable-gpu'] })
const page = await (await browser.newContext({ locale: 'en-GB' })).newPage()
// In the page, for what Playwright adds of its own is not the page's.
await page.addInitScript(() => {
  const marks = { 'sign-in': '.role', list: '.patients li' }
  new MutationObserver(() => {
    for (const [name, selector] of Object.entries(marks)) {
      if (performance.getEntriesByName(name).length || !document.querySelector(selector)) continue
      performance.mark(name)
    }
  }).observe(document, { childList: true, subtree: true })
})
await page.goto(`${DEMO}/app/`)
await page.locator('.role').first().waitFor()
const clicked = await page.evaluate(() => { document.querySelector('.role').click(); return performance.now() })
await page.locator('.patients li').first().waitFor()
const measured = await page.evaluate(clicked => ({
  signIn: performance.getEntriesByName('sign-in')[0].startTime,
  list: performance.getEntriesByName('list')[0].startTime - clicked,
  bytes: [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource').filter(({ name }) => name.includes('/app/'))]
    .reduce((sum, { transferSize }) => sum + transferSize, 0),
}), clicked)
await browser.close()
console.log(JSON.stringify(measured))
