"""The voice that ships: text -> phones -> speech units by CTC -> vocoder parameters -> sound, all of it streaming."""
