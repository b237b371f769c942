"""The part of a recipe that image classification adds: data, students, teachers and losses. Free of torch."""
