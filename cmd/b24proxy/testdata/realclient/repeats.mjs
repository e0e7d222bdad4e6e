// Makes a write with the unmodified @2bad/bitrix, which repeats a call after most
// failures, and prints how it ended. Usage: node repeats.mjs ADDRESS-OF-A-WEBHOOK TITLE
import bitrix from '@2bad/bitrix'

const [address, title] = process.argv.slice(2)
const { deals } = bitrix.Bitrix(address)
try {
  console.log(JSON.stringify({ result: (await deals.create({ TITLE: title })).result }))
} catch (error) {
  console.log(JSON.stringify({ failure: String(error.message), attempts: 1 + (error.request?.retryCount ?? 0) }))
}
