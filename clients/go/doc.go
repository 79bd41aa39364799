// Package stonetown is the client of Stonetown, the authorization database.
//
// A [Client] asks whether somebody may do something ([Client.May]), asks for access where it is not there yet, and gives it
// back when a task is done ([Client.Task]). Its services, such as [Services].Grant, have all other calls; package v1 has their
// messages.
package stonetown
