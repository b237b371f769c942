"""Language models: a teacher and a student that continue texts and answer chats."""
