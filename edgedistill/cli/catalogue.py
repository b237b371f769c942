"""The commands recipes and targets: the ones of the package."""

from typing import Any

from edgedistill.cli.output import finish


def recipes(name: str | None, *, schema: bool, as_json: bool) -> None:
    """List recipes, print one, or print the schema (which is JSON in any case)."""

    def work() -> dict[str, Any]:
        from edgedistill.recipe.loading import find_recipe, list_recipes
        from edgedistill.recipe.schema import recipe_schema

        if schema:
            return recipe_schema()
        if name is not None:
            path, shown = find_recipe(name)
            return {"name": shown, "text": path.read_text(encoding="utf-8")}
        return {"recipes": [{"name": r.name, "command": r.command, "description": r.description} for r in list_recipes()]}

    def show(document: dict[str, Any]) -> None:
        if "text" in document:
            print(document["text"], end="")
        for item in document.get("recipes", []):
            print(f"{item['name']}\n  {item['description']}\n  {item['command']}")

    finish(as_json or schema, work, show)


def targets(name: str | None, *, as_json: bool) -> None:
    """List targets, or show one."""

    def work() -> dict[str, Any]:
        from edgedistill.recipe.targets import list_targets, load_target

        return {"targets": [load_target(t).model_dump(mode="json") for t in ([name] if name else list_targets())]}

    def show(document: dict[str, Any]) -> None:
        from edgedistill.recipe.inputs import DEFAULT

        for target in document["targets"]:
            files = ", ".join(" ".join(value for value in a.values() if value not in (None, DEFAULT)) for a in target["artifacts"])
            print(f"{target['name']} ({target['minimum_os']})\n  {target['description']}\n  {files}")

    finish(as_json, work, show)
