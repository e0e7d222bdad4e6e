// Package bitrix24 is the vocabulary of the Bitrix24 REST API: how a call is
// addressed, who makes it, and what an answer means. It does no I/O.
//
// README.md in this directory lists the facts about Bitrix24 that the code rests
// on, with their sources. Comments that cite a fact name its section.
package bitrix24
