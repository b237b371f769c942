package edgedistill.glue

/** What edgedistill knows about this bundle. Written by edgedistill; do not edit. */
public object Generated {
    /** Name of the model. */
    public const val NAME: String = "quickstart"

    /** What the model tells apart, in the order of its scores. */
    public val LABELS: List<String> = listOf(
        "zero",
        "one",
        "two",
    )

    /** The runtimes in build.gradle.kts, with their versions there. */
    public val RUNTIMES: List<ModelRuntime> = listOf(
        MatrixRuntime(version = "1.2.3"),
        BrokenRuntime(),
    )
}
