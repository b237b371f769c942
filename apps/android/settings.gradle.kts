pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "edgedistill-sample"
include(":app")

// The module in the bundle: glue code, and what copies the model into the assets.
include(":model")
val bundle = providers.gradleProperty("edgedistill.bundle").get()
val module = file(bundle).resolve("kotlin")
require(module.isDirectory) { "found no folder $module: set edgedistill.bundle in gradle.properties to a bundle for android" }
project(":model").projectDir = module
