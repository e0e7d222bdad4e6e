// Reads all pages of a list with @2bad/bitrix. Usage: node 2bad.mjs WEBHOOK
import bitrix from '@2bad/bitrix'

const { result } = await bitrix.default(process.argv[2]).list('crm.deal.list', {})
console.log(result.length, 'items')
