// Package bitrix24 is the vocabulary of the Bitrix24 REST API: how a call is
// addressed, who makes it, and what an answer means. It does no I/O and knows
// nothing of the proxy.
package bitrix24
