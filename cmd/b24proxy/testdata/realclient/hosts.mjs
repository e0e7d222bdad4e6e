// Does for a Node process what /etc/hosts does for a machine, so that a test needs
// neither that file nor port 443: each connection to port 443 is made to
// B24PROXY_TEST_443. Usage: node --import ./hosts.mjs PROGRAM
import net from 'node:net'

const [host, port] = process.env.B24PROXY_TEST_443.split(':')
const connect = net.Socket.prototype.connect
net.Socket.prototype.connect = function (...args) {
  const target = Array.isArray(args[0]) ? args[0][0] : args[0]
  if (Number(target.port) === 443) Object.assign(target, { host, port: Number(port) })
  return connect.apply(this, args)
}
